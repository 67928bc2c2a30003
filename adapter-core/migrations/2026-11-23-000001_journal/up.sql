-- What this institution asked of the platform. Rows are written before anyone is told that they exist.
CREATE TABLE asks (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB    NOT NULL UNIQUE,  -- the message id, repeated until a reply came
    kind        TEXT    NOT NULL,         -- bill, withdraw, claim, refund
    subject     TEXT    NOT NULL,         -- the institution's own number: bill_no or refund_no
    content     BLOB    NOT NULL,         -- keyed hash of the payload: same number with other content is refused
    payload     BLOB    NOT NULL,         -- sealed
    trace_id    TEXT    NOT NULL,
    asked_us    BIGINT  NOT NULL,
    reply       BLOB,                     -- sealed; the first one wins
    replied_us  BIGINT
);
CREATE INDEX asks_by_subject ON asks (kind, subject, seq);
CREATE INDEX asks_waiting ON asks (seq) WHERE reply IS NULL;

-- What the platform asked of this institution. Rows are written before the HIS hears of them.
CREATE TABLE work (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB    NOT NULL UNIQUE,
    payload     BLOB    NOT NULL,         -- sealed
    trace_id    TEXT,
    received_us BIGINT  NOT NULL,
    answer_id   BLOB,                     -- the message id of our reply: a repeated ask gets the same bytes
    answer      BLOB,                     -- sealed; the first one wins
    answered_us BIGINT
);
CREATE INDEX work_waiting ON work (seq) WHERE answer IS NULL;
