-- The record of truth. Every primary, unique and foreign key begins with the tenant, so that the same
-- tables can be distributed by tenant. Ids are 16 bytes (UUIDv7), look-up hashes 32, times microseconds UTC, money fen.
-- Rows with long documents keep SQLite's row ids; short ones live in their key (WITHOUT ROWID): one tree to write.

-- ——— set-up ———

CREATE TABLE tenant (
    tenant      BLOB    NOT NULL PRIMARY KEY CHECK (length(tenant) = 16),
    area        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    current_key INTEGER NOT NULL CHECK (current_key BETWEEN 0 AND 65535),
    parties     BLOB    NOT NULL
) STRICT;

CREATE TABLE channel (
    tenant   BLOB NOT NULL REFERENCES tenant (tenant),
    id       BLOB NOT NULL CHECK (length(id) = 16),
    name     TEXT NOT NULL,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
    revoked  INTEGER NOT NULL CHECK (revoked IN (0, 1)),
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE INDEX channel_key ON channel (key_hash);

CREATE TABLE institution (
    tenant      BLOB    NOT NULL REFERENCES tenant (tenant),
    code        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    area        TEXT    NOT NULL,
    merchant    TEXT    NOT NULL,
    adapter_key TEXT,
    suspended   INTEGER NOT NULL CHECK (suspended IN (0, 1)),
    PRIMARY KEY (tenant, code)
) STRICT;
CREATE INDEX institution_adapter_key ON institution (adapter_key) WHERE adapter_key IS NOT NULL;

-- ——— people ———

CREATE TABLE channel_user (
    tenant        BLOB NOT NULL,
    id            BLOB NOT NULL CHECK (length(id) = 16),
    channel       BLOB NOT NULL,
    phone         BLOB NOT NULL CHECK (length(phone) = 32),
    phone_sealed  BLOB NOT NULL,
    openid        BLOB CHECK (openid IS NULL OR length(openid) = 32),
    openid_sealed BLOB,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, channel, phone),
    FOREIGN KEY (tenant, channel) REFERENCES channel (tenant, id)
) STRICT;

CREATE TABLE binding (
    tenant        BLOB    NOT NULL,
    id            BLOB    NOT NULL CHECK (length(id) = 16),
    epoch         INTEGER NOT NULL,
    level         INTEGER NOT NULL CHECK (level IN (1, 2)),
    frozen        INTEGER NOT NULL CHECK (frozen IN (0, 1)),
    person        BLOB    NOT NULL CHECK (length(person) = 32),
    channel_user  BLOB    NOT NULL,
    certno        BLOB    NOT NULL CHECK (length(certno) = 32),
    unbound       INTEGER NOT NULL CHECK (unbound IN (0, 1)),
    phone         BLOB,
    card_no       BLOB,
    bind_no       TEXT,
    checked_at_us INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    sealed        BLOB    NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, channel_user) REFERENCES channel_user (tenant, id)
) STRICT;
-- A login holds one live binding of a document; the unbound ones are history.
CREATE UNIQUE INDEX binding_live ON binding (tenant, channel_user, certno) WHERE NOT unbound;
CREATE INDEX binding_person ON binding (tenant, person) WHERE NOT unbound;
CREATE INDEX binding_bind_no ON binding (tenant, bind_no) WHERE bind_no IS NOT NULL;
-- Ended ones too: a card that was lost stays lost.
CREATE INDEX binding_certno ON binding (tenant, certno);

-- What 1101 said last of a person, found by their document: one person has several insurances, each with a place.
-- psn_no and person are look-up hashes; the employer is sealed.
CREATE TABLE person_insurance (
    tenant         BLOB    NOT NULL,
    certno         BLOB    NOT NULL CHECK (length(certno) = 32),
    line           INTEGER NOT NULL,
    psn_no         BLOB    NOT NULL CHECK (length(psn_no) = 32),
    person         BLOB    NOT NULL CHECK (length(person) = 32),
    insutype       TEXT    NOT NULL,
    insuplc_admdvs TEXT    NOT NULL,
    psn_type       TEXT    NOT NULL,
    psn_insu_stas  TEXT    NOT NULL,
    cvlserv_flag   TEXT    NOT NULL,
    active         INTEGER NOT NULL CHECK (active IN (0, 1)),
    emp_name       BLOB,
    checked_at_us  INTEGER NOT NULL,
    PRIMARY KEY (tenant, certno, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_insurance_person ON person_insurance (tenant, person);

CREATE TABLE visit_card (
    tenant          BLOB    NOT NULL,
    institution     TEXT    NOT NULL,
    visit_card      BLOB    NOT NULL CHECK (length(visit_card) = 32),
    certno          BLOB    NOT NULL CHECK (length(certno) = 32),
    psn_name_masked TEXT    NOT NULL,
    bind_no         TEXT    NOT NULL,
    created_at_us   INTEGER NOT NULL,
    PRIMARY KEY (tenant, institution, visit_card),
    FOREIGN KEY (tenant, institution) REFERENCES institution (tenant, code)
) STRICT;

-- ——— bills and orders ———

-- The sealed bill comes last: reading the facts before it never touches its overflow pages.
CREATE TABLE bill (
    tenant          BLOB    NOT NULL,
    id              BLOB    NOT NULL CHECK (length(id) = 16),
    institution     TEXT    NOT NULL,
    bill_no         TEXT    NOT NULL,
    amount          INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    expires_at_us   INTEGER NOT NULL,
    order_id        BLOB,
    last_order      BLOB,
    content         BLOB    NOT NULL CHECK (length(content) = 32),
    kind            TEXT    NOT NULL,
    patient         BLOB    NOT NULL CHECK (length(patient) = 32),
    psn_name_masked TEXT    NOT NULL,
    dept_name       TEXT    NOT NULL,
    dr_name         TEXT    NOT NULL,
    ipt_otp_no      TEXT    NOT NULL,
    med_type        TEXT    NOT NULL,
    dept_code       TEXT    NOT NULL,
    atddr_no        TEXT    NOT NULL,
    issued_at_us    INTEGER NOT NULL,
    sealed          BLOB    NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, institution, bill_no),
    FOREIGN KEY (tenant, institution) REFERENCES institution (tenant, code)
) STRICT;
CREATE INDEX bill_patient ON bill (tenant, patient, issued_at_us);

-- A bill's fee lines by their codes. Diagnoses, 病种 and whatever names the person stay in the sealed bill only.
-- pric is in units of 0.000001 yuan, cnt of 0.0001, amount in fen.
CREATE TABLE bill_line (
    tenant           BLOB    NOT NULL,
    bill             BLOB    NOT NULL,
    line             INTEGER NOT NULL,
    feedetl_sn       TEXT    NOT NULL,
    med_list_codg    TEXT,
    medins_list_codg TEXT    NOT NULL,
    pric             INTEGER NOT NULL,
    cnt              INTEGER NOT NULL,
    amount           INTEGER NOT NULL,
    rxno             TEXT,
    rx_circ_flag     TEXT    NOT NULL,
    hosp_appr_flag   TEXT    NOT NULL,
    unit             TEXT,
    spec             TEXT,
    prd_days         INTEGER,
    level_hint       TEXT,
    PRIMARY KEY (tenant, bill, line),
    FOREIGN KEY (tenant, bill) REFERENCES bill (tenant, id)
) STRICT, WITHOUT ROWID;

-- doc is the whole domain order; the columns before it are what is searched and guarded by. An order is written with
-- every step, and each index of a column that changes makes all the others be written too. So what is searched for at rest
-- has its index, and what changes has none: look_at_us stays where it is while the deadline moves away from it, and is no
-- later than that. Whoever looks then and is too early puts it there.
CREATE TABLE orders (
    tenant         BLOB    NOT NULL,
    id             BLOB    NOT NULL CHECK (length(id) = 16),
    version        INTEGER NOT NULL CHECK (version > 0),
    state          TEXT    NOT NULL,
    place          TEXT    NOT NULL,
    institution    TEXT    NOT NULL,
    bill           BLOB    NOT NULL,
    payer          BLOB    NOT NULL,
    binding        BLOB,
    person         BLOB,
    amount         INTEGER NOT NULL,
    deadline_at_us INTEGER,
    look_at_us     INTEGER,
    suspended      INTEGER NOT NULL CHECK (suspended IN (0, 1)),
    created_at_us  INTEGER NOT NULL,
    updated_at_us  INTEGER NOT NULL,
    trace_id       TEXT,
    doc            TEXT    NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, bill) REFERENCES bill (tenant, id),
    CHECK ((look_at_us IS NULL) = (deadline_at_us IS NULL)),
    CHECK (look_at_us <= deadline_at_us)
) STRICT;
CREATE INDEX orders_payer ON orders (tenant, payer, created_at_us);
CREATE INDEX orders_institution ON orders (tenant, institution, created_at_us);
CREATE INDEX orders_person ON orders (tenant, person) WHERE person IS NOT NULL;
CREATE INDEX orders_binding ON orders (tenant, binding) WHERE binding IS NOT NULL;
CREATE INDEX orders_look ON orders (look_at_us) WHERE look_at_us IS NOT NULL;
CREATE INDEX orders_suspended ON orders (tenant, id) WHERE suspended;

-- PAY-3: at most one open order per bill.
CREATE TABLE open_order (
    tenant   BLOB NOT NULL,
    bill     BLOB NOT NULL CHECK (length(bill) = 16),
    order_id BLOB NOT NULL CHECK (length(order_id) = 16),
    PRIMARY KEY (tenant, bill)
) STRICT, WITHOUT ROWID;

-- PAY-4: one insured order per insured person while money moves.
CREATE TABLE person_claim (
    tenant   BLOB NOT NULL,
    person   BLOB NOT NULL CHECK (length(person) = 32),
    order_id BLOB NOT NULL CHECK (length(order_id) = 16),
    PRIMARY KEY (tenant, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    tenant     BLOB    NOT NULL,
    order_id   BLOB    NOT NULL,
    version    INTEGER NOT NULL,
    event_id   BLOB    NOT NULL CHECK (length(event_id) = 16),
    at_us      INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    from_state TEXT,
    to_state   TEXT    NOT NULL,
    doc        TEXT    NOT NULL,
    PRIMARY KEY (tenant, order_id, version),
    UNIQUE (tenant, event_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT;

-- record and action name an order and do not refer to it: they are written in the commit that writes the order and its
-- history, which does, or an action instead of another of that order; and a reference is looked up for every row.
CREATE TABLE record (
    tenant    BLOB    NOT NULL,
    order_id  BLOB    NOT NULL,
    sequence  INTEGER NOT NULL,
    published INTEGER NOT NULL CHECK (published IN (0, 1)),
    doc       TEXT    NOT NULL,
    PRIMARY KEY (tenant, order_id, sequence)
) STRICT;
CREATE INDEX record_unpublished ON record (order_id, sequence) WHERE NOT published;

-- ——— money ———

-- version and event_id name the commit: its lines sum to zero (PAY-2). A line never changes, but for the mark that it is
-- in a balance.
CREATE TABLE posting (
    tenant             BLOB    NOT NULL,
    order_id           BLOB    NOT NULL,
    version            INTEGER NOT NULL,
    line               INTEGER NOT NULL,
    event_id           BLOB    NOT NULL CHECK (length(event_id) = 16),
    account            TEXT    NOT NULL,
    amount             INTEGER NOT NULL,
    counterparty_at_us INTEGER NOT NULL,
    at_us              INTEGER NOT NULL,
    rolled_up          INTEGER NOT NULL DEFAULT 0 CHECK (rolled_up IN (0, 1)),
    PRIMARY KEY (tenant, order_id, version, line),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX posting_rest ON posting (tenant, order_id, version, line) WHERE NOT rolled_up;

-- Sums of the postings that are rolled_up, by the counterparty's accounting date in China (YYYY-MM-DD). Written by an
-- errand, never in the payment path.
CREATE TABLE balance (
    tenant       BLOB    NOT NULL,
    account      TEXT    NOT NULL,
    accounted_on TEXT    NOT NULL,
    amount       INTEGER NOT NULL,
    PRIMARY KEY (tenant, account, accounted_on)
) STRICT, WITHOUT ROWID;

CREATE TABLE authorisation (
    tenant         BLOB    NOT NULL,
    order_id       BLOB    NOT NULL,
    version        INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    level          INTEGER NOT NULL,
    at_us          INTEGER NOT NULL,
    evidence       BLOB,
    fund           INTEGER NOT NULL,
    other_funds    INTEGER NOT NULL,
    account_own    INTEGER NOT NULL,
    account_mulaid INTEGER NOT NULL,
    hospital       INTEGER NOT NULL,
    cash           INTEGER NOT NULL,
    PRIMARY KEY (tenant, order_id, version),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT, WITHOUT ROWID;

-- flags: what else 2204 said of the line, as JSON by its own names.
CREATE TABLE price_line (
    tenant         BLOB    NOT NULL,
    order_id       BLOB    NOT NULL,
    price_number   INTEGER NOT NULL,
    line           INTEGER NOT NULL,
    feedetl_sn     TEXT    NOT NULL,
    amount         INTEGER NOT NULL,
    pric_uplmt_amt INTEGER,
    selfpay_prop   INTEGER NOT NULL,
    fulamt_ownpay  INTEGER NOT NULL,
    overlmt        INTEGER NOT NULL,
    preselfpay     INTEGER NOT NULL,
    inscp_scp      INTEGER NOT NULL,
    chrgitm_lv     TEXT    NOT NULL,
    flags          TEXT    NOT NULL,
    PRIMARY KEY (tenant, order_id, price_number, line),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT, WITHOUT ROWID;

-- What every 2207 is told, written in the commit that decides to send it. sealed is the whole input; psn_no and
-- mdtrt_cert_no are look-up hashes; the last five are echoed sums in fen.
CREATE TABLE settlement_input (
    tenant            BLOB    NOT NULL,
    msgid             TEXT    NOT NULL,
    order_id          BLOB    NOT NULL,
    price_number      INTEGER NOT NULL,
    psn_no            BLOB    NOT NULL CHECK (length(psn_no) = 32),
    insutype          TEXT    NOT NULL,
    insuplc_admdvs    TEXT    NOT NULL,
    mdtrt_cert_type   TEXT    NOT NULL,
    mdtrt_cert_no     BLOB    NOT NULL CHECK (length(mdtrt_cert_no) = 32),
    med_type          TEXT    NOT NULL,
    psn_setlway       TEXT    NOT NULL,
    acct_used_flag    INTEGER NOT NULL CHECK (acct_used_flag IN (0, 1)),
    mdtrt_id          TEXT    NOT NULL,
    chrg_bchno        TEXT    NOT NULL,
    invono            TEXT    NOT NULL,
    medfee_sumamt     INTEGER NOT NULL,
    fulamt_ownpay_amt INTEGER NOT NULL,
    overlmt_selfpay   INTEGER NOT NULL,
    preselfpay_amt    INTEGER NOT NULL,
    inscp_scp_amt     INTEGER NOT NULL,
    sealed            BLOB    NOT NULL,
    PRIMARY KEY (tenant, msgid),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT;
CREATE INDEX settlement_input_order ON settlement_input (tenant, order_id);

-- origin: who had it settled; so far only the platform itself. refd_setl_flag as the bureau told it with the settlement:
-- what becomes of it later is a row of settlement_undo, never a change of this one.
CREATE TABLE settlement (
    tenant         BLOB    NOT NULL,
    setl_id        TEXT    NOT NULL,
    order_id       BLOB    NOT NULL,
    origin         TEXT    NOT NULL CHECK (origin IN ('platform')),
    refd_setl_flag TEXT    NOT NULL,
    msgid          TEXT    NOT NULL,
    inf_refmsgid   TEXT    NOT NULL,
    mdtrt_id       TEXT    NOT NULL,
    insutype       TEXT    NOT NULL,
    setl_time_us   INTEGER NOT NULL,
    clr_type       TEXT    NOT NULL,
    clr_way        TEXT    NOT NULL,
    clr_optins     TEXT    NOT NULL,
    fund           INTEGER NOT NULL,
    other_funds    INTEGER NOT NULL,
    account_own    INTEGER NOT NULL,
    account_mulaid INTEGER NOT NULL,
    hospital       INTEGER NOT NULL,
    cash           INTEGER NOT NULL,
    reply          BLOB    NOT NULL,
    PRIMARY KEY (tenant, setl_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT;
CREATE INDEX settlement_order ON settlement (tenant, order_id);

-- undo_setl_id, msgid and inf_refmsgid are absent where the bureau says undone without showing the undo.
CREATE TABLE settlement_undo (
    tenant       BLOB    NOT NULL,
    setl_id      TEXT    NOT NULL,
    order_id     BLOB    NOT NULL,
    undo_setl_id TEXT,
    msgid        TEXT,
    inf_refmsgid TEXT,
    setl_time_us INTEGER NOT NULL,
    PRIMARY KEY (tenant, setl_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX settlement_undo_order ON settlement_undo (tenant, order_id);

-- Every amount of setlinfo by its own name.
CREATE TABLE settlement_amount (
    tenant  BLOB    NOT NULL,
    setl_id TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (tenant, setl_id, name)
) STRICT, WITHOUT ROWID;

-- Kinds, flags and ratios of setlinfo by their own names, as they were written.
CREATE TABLE settlement_text (
    tenant  BLOB NOT NULL,
    setl_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (tenant, setl_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE settlement_fund (
    tenant             BLOB    NOT NULL,
    setl_id            TEXT    NOT NULL,
    line               INTEGER NOT NULL,
    fund_pay_type      TEXT    NOT NULL,
    fund_pay_type_name TEXT    NOT NULL,
    inscp_scp_amt      INTEGER NOT NULL,
    crt_payb_lmt_amt   INTEGER NOT NULL,
    fund_payamt        INTEGER NOT NULL,
    setl_proc_info     TEXT    NOT NULL,
    PRIMARY KEY (tenant, setl_id, line)
) STRICT;

-- What the wallet is asked for an order, and by whom it is to be paid: written in the commit that decides to ask, and
-- asked again with the same content whatever the payer's login becomes. openid is a look-up hash.
CREATE TABLE prepay (
    tenant        BLOB    NOT NULL,
    order_id      BLOB    NOT NULL,
    out_trade_no  TEXT    NOT NULL,
    sp_mchid      TEXT    NOT NULL,
    merchant      TEXT    NOT NULL,
    appid         TEXT    NOT NULL,
    openid        BLOB,
    openid_sealed BLOB,
    amount        INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL,
    asked_at_us   INTEGER NOT NULL,
    PRIMARY KEY (tenant, order_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cash_leg (
    tenant          BLOB    NOT NULL,
    order_id        BLOB    NOT NULL,
    transaction_id  TEXT    NOT NULL,
    out_trade_no    TEXT    NOT NULL,
    merchant        TEXT    NOT NULL,
    amount          INTEGER NOT NULL,
    success_time_us INTEGER NOT NULL,
    stray           INTEGER NOT NULL CHECK (stray IN (0, 1)),
    PRIMARY KEY (tenant, order_id, transaction_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE refund (
    tenant        BLOB    NOT NULL,
    id            BLOB    NOT NULL CHECK (length(id) = 16),
    order_id      BLOB    NOT NULL,
    institution   TEXT    NOT NULL,
    refund_no     TEXT,
    kind          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    amount        INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    doc           TEXT    NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, institution, refund_no),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) STRICT;
CREATE INDEX refund_order ON refund (tenant, order_id);
CREATE INDEX refund_state ON refund (state, created_at_us) WHERE state <> 'done';

-- ——— work ———

-- msgid is the number of the bureau message that the action sends; rows stay, so no number is ever sent twice.
CREATE TABLE action (
    tenant     BLOB    NOT NULL,
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    order_id   BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    doc        TEXT    NOT NULL,
    msgid      TEXT,
    due_at_us  INTEGER NOT NULL,
    started_by BLOB,
    done       INTEGER NOT NULL CHECK (done IN (0, 1)),
    attempts   INTEGER NOT NULL,
    trace_id   TEXT,
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE UNIQUE INDEX action_msgid ON action (tenant, msgid) WHERE msgid IS NOT NULL;
CREATE INDEX action_order ON action (tenant, order_id);
CREATE INDEX action_due ON action (due_at_us) WHERE NOT done AND started_by IS NULL;
CREATE INDEX action_started ON action (started_by) WHERE NOT done AND started_by IS NOT NULL;

CREATE TABLE first_answer (
    tenant     BLOB NOT NULL,
    caller     TEXT NOT NULL,
    caller_key TEXT NOT NULL,
    request    BLOB NOT NULL CHECK (length(request) = 32),
    order_id   BLOB,
    response   BLOB NOT NULL,
    PRIMARY KEY (tenant, caller, caller_key)
) STRICT;

-- Processes belong to no tenant.
CREATE TABLE lease (
    process       BLOB    NOT NULL PRIMARY KEY CHECK (length(process) = 16),
    renewed_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What one process does for all of them; its holder is whoever renewed it last.
CREATE TABLE duty (
    name          TEXT    NOT NULL PRIMARY KEY,
    holder        BLOB    NOT NULL CHECK (length(holder) = 16),
    renewed_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
