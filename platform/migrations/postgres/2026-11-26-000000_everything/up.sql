-- The record of truth. Every primary, unique and foreign key begins with the tenant, so that the same
-- tables can be distributed by tenant. Ids are 16 bytes (UUIDv7), look-up hashes 32, times microseconds UTC, money fen.
-- The same tables as SQLite's; only types, and what the planner and the disk want, differ.
-- fillfactor: where rows are written again and again, the next version finds room in the page of the last, and then no
-- index is written.
-- What a payment writes has no CHECK here: every statement would read and plan each of them anew, for as much as the row.
-- SQLite's tables have them, under the same program and the same tests.
-- toast_tuple_target: rows of 2 to 8 KB stay in their page as they are. To compress them and to keep them elsewhere costs
-- more than it spares: most of it is sealed, and so does not compress.

-- ——— set-up ———

CREATE TABLE tenant (
    tenant BYTEA NOT NULL PRIMARY KEY CHECK (length(tenant) = 16),
    area TEXT NOT NULL,
    name TEXT NOT NULL,
    current_key INTEGER NOT NULL CHECK (current_key BETWEEN 0 AND 65535),
    parties BYTEA NOT NULL
);

CREATE TABLE channel (
    tenant BYTEA NOT NULL REFERENCES tenant (tenant),
    id BYTEA NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL,
    key_hash BYTEA NOT NULL CHECK (length(key_hash) = 32),
    revoked BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX channel_key ON channel (key_hash);

CREATE TABLE institution (
    tenant BYTEA NOT NULL REFERENCES tenant (tenant),
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    area TEXT NOT NULL,
    merchant TEXT NOT NULL,
    adapter_key TEXT,
    suspended BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, code)
);
CREATE INDEX institution_adapter_key ON institution (adapter_key) WHERE adapter_key IS NOT NULL;

-- ——— people ———

CREATE TABLE channel_user (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL CHECK (length(id) = 16),
    channel BYTEA NOT NULL,
    phone BYTEA NOT NULL CHECK (length(phone) = 32),
    phone_sealed BYTEA NOT NULL,
    openid BYTEA CHECK (openid IS NULL OR length(openid) = 32),
    openid_sealed BYTEA,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, channel, phone),
    FOREIGN KEY (tenant, channel) REFERENCES channel (tenant, id)
);

CREATE TABLE binding (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL CHECK (length(id) = 16),
    epoch BIGINT NOT NULL,
    level SMALLINT NOT NULL CHECK (level IN (1, 2)),
    frozen BOOLEAN NOT NULL,
    person BYTEA NOT NULL CHECK (length(person) = 32),
    channel_user BYTEA NOT NULL,
    certno BYTEA NOT NULL CHECK (length(certno) = 32),
    unbound BOOLEAN NOT NULL,
    phone BYTEA,
    card_no BYTEA,
    bind_no TEXT,
    checked_at_us BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, channel_user) REFERENCES channel_user (tenant, id)
);
-- A login holds one live binding of a document; the unbound ones are history.
CREATE UNIQUE INDEX binding_live ON binding (tenant, channel_user, certno) WHERE NOT unbound;
CREATE INDEX binding_person ON binding (tenant, person) WHERE NOT unbound;
CREATE INDEX binding_bind_no ON binding (tenant, bind_no) WHERE bind_no IS NOT NULL;
-- Ended ones too: a card that was lost stays lost.
CREATE INDEX binding_certno ON binding (tenant, certno);

-- What 1101 said last of a person, found by their document: one person has several insurances, each with a place.
-- psn_no and person are look-up hashes; the employer is sealed.
CREATE TABLE person_insurance (
    tenant BYTEA NOT NULL,
    certno BYTEA NOT NULL CHECK (length(certno) = 32),
    line INTEGER NOT NULL,
    psn_no BYTEA NOT NULL CHECK (length(psn_no) = 32),
    person BYTEA NOT NULL CHECK (length(person) = 32),
    insutype TEXT NOT NULL,
    insuplc_admdvs TEXT NOT NULL,
    psn_type TEXT NOT NULL,
    psn_insu_stas TEXT NOT NULL,
    cvlserv_flag TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    emp_name BYTEA,
    checked_at_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, certno, line)
);
CREATE INDEX person_insurance_person ON person_insurance (tenant, person);

CREATE TABLE visit_card (
    tenant BYTEA NOT NULL,
    institution TEXT NOT NULL,
    visit_card BYTEA NOT NULL CHECK (length(visit_card) = 32),
    certno BYTEA NOT NULL CHECK (length(certno) = 32),
    psn_name_masked TEXT NOT NULL,
    bind_no TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, institution, visit_card),
    FOREIGN KEY (tenant, institution) REFERENCES institution (tenant, code)
);

-- ——— bills and orders ———

-- The sealed bill comes last: reading the facts before it never touches its overflow pages.
CREATE TABLE bill (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    institution TEXT NOT NULL,
    bill_no TEXT NOT NULL,
    amount BIGINT NOT NULL,
    state TEXT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    order_id BYTEA,
    last_order BYTEA,
    content BYTEA NOT NULL,
    kind TEXT NOT NULL,
    patient BYTEA NOT NULL,
    psn_name_masked TEXT NOT NULL,
    dept_name TEXT NOT NULL,
    dr_name TEXT NOT NULL,
    ipt_otp_no TEXT NOT NULL,
    med_type TEXT NOT NULL,
    dept_code TEXT NOT NULL,
    atddr_no TEXT NOT NULL,
    issued_at_us BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, institution, bill_no),
    FOREIGN KEY (tenant, institution) REFERENCES institution (tenant, code)
) WITH (toast_tuple_target = 8160, fillfactor = 50);
CREATE INDEX bill_patient ON bill (tenant, patient, issued_at_us);

-- A bill's fee lines by their codes. Diagnoses, 病种 and whatever names the person stay in the sealed bill only.
-- pric is in units of 0.000001 yuan, cnt of 0.0001, amount in fen.
CREATE TABLE bill_line (
    tenant BYTEA NOT NULL,
    bill BYTEA NOT NULL,
    line INTEGER NOT NULL,
    feedetl_sn TEXT NOT NULL,
    med_list_codg TEXT,
    medins_list_codg TEXT NOT NULL,
    pric BIGINT NOT NULL,
    cnt BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    rxno TEXT,
    rx_circ_flag TEXT NOT NULL,
    hosp_appr_flag TEXT NOT NULL,
    unit TEXT,
    spec TEXT,
    prd_days BIGINT,
    level_hint TEXT,
    PRIMARY KEY (tenant, bill, line),
    FOREIGN KEY (tenant, bill) REFERENCES bill (tenant, id)
);

-- doc is the whole domain order; the columns before it are what is searched and guarded by. An order is written with
-- every step, and each index of a column that changes makes all the others be written too. So what is searched for at rest
-- has its index, and what changes has none: look_at_us stays where it is while the deadline moves away from it, and is no
-- later than that. Whoever looks then and is too early puts it there.
CREATE TABLE orders (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    place TEXT NOT NULL,
    institution TEXT NOT NULL,
    bill BYTEA NOT NULL,
    payer BYTEA NOT NULL,
    binding BYTEA,
    person BYTEA,
    amount BIGINT NOT NULL,
    deadline_at_us BIGINT,
    look_at_us BIGINT,
    suspended BOOLEAN NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    trace_id TEXT,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, bill) REFERENCES bill (tenant, id)
) WITH (toast_tuple_target = 8160, fillfactor = 25);
CREATE INDEX orders_payer ON orders (tenant, payer, created_at_us);
CREATE INDEX orders_institution ON orders (tenant, institution, created_at_us);
CREATE INDEX orders_person ON orders (tenant, person) WHERE person IS NOT NULL;
CREATE INDEX orders_binding ON orders (tenant, binding) WHERE binding IS NOT NULL;
CREATE INDEX orders_look ON orders (look_at_us) WHERE look_at_us IS NOT NULL;
CREATE INDEX orders_suspended ON orders (tenant, id) WHERE suspended;

-- PAY-3: at most one open order per bill.
CREATE TABLE open_order (
    tenant BYTEA NOT NULL,
    bill BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    PRIMARY KEY (tenant, bill)
);

-- PAY-4: one insured order per insured person while money moves.
CREATE TABLE person_claim (
    tenant BYTEA NOT NULL,
    person BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    PRIMARY KEY (tenant, person)
);

CREATE TABLE history (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    version BIGINT NOT NULL,
    event_id BYTEA NOT NULL,
    at_us BIGINT NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, order_id, version),
    UNIQUE (tenant, event_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) WITH (toast_tuple_target = 8160);

-- record and action name an order and do not refer to it: they are written in the commit that writes the order and its
-- history, which does, or an action instead of another of that order; and a reference is looked up for every row.
CREATE TABLE record (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    published BOOLEAN NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, order_id, sequence)
);
CREATE INDEX record_unpublished ON record (order_id, sequence) WHERE NOT published;

-- ——— money ———

-- version and event_id name the commit: its lines sum to zero (PAY-2). A line never changes, but for the mark that it is
-- in a balance.
CREATE TABLE posting (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    version BIGINT NOT NULL,
    line INTEGER NOT NULL,
    event_id BYTEA NOT NULL,
    account TEXT NOT NULL,
    amount BIGINT NOT NULL,
    counterparty_at_us BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    rolled_up BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (tenant, order_id, version, line),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);
CREATE INDEX posting_rest ON posting (tenant, order_id, version, line) WHERE NOT rolled_up;

-- Sums of the postings that are rolled_up, by the counterparty's accounting date in China (YYYY-MM-DD). Written by an
-- errand, never in the payment path.
CREATE TABLE balance (
    tenant BYTEA NOT NULL,
    account TEXT NOT NULL,
    accounted_on TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (tenant, account, accounted_on)
);

CREATE TABLE authorisation (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    level SMALLINT NOT NULL,
    at_us BIGINT NOT NULL,
    evidence BYTEA,
    fund BIGINT NOT NULL,
    other_funds BIGINT NOT NULL,
    account_own BIGINT NOT NULL,
    account_mulaid BIGINT NOT NULL,
    hospital BIGINT NOT NULL,
    cash BIGINT NOT NULL,
    PRIMARY KEY (tenant, order_id, version),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);

-- flags: what else 2204 said of the line, as JSON by its own names.
CREATE TABLE price_line (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    price_number BIGINT NOT NULL,
    line INTEGER NOT NULL,
    feedetl_sn TEXT NOT NULL,
    amount BIGINT NOT NULL,
    pric_uplmt_amt BIGINT,
    selfpay_prop BIGINT NOT NULL,
    fulamt_ownpay BIGINT NOT NULL,
    overlmt BIGINT NOT NULL,
    preselfpay BIGINT NOT NULL,
    inscp_scp BIGINT NOT NULL,
    chrgitm_lv TEXT NOT NULL,
    flags TEXT NOT NULL,
    PRIMARY KEY (tenant, order_id, price_number, line),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);

-- What every 2207 is told, written in the commit that decides to send it. sealed is the whole input; psn_no and
-- mdtrt_cert_no are look-up hashes; the last five are echoed sums in fen.
CREATE TABLE settlement_input (
    tenant BYTEA NOT NULL,
    msgid TEXT NOT NULL,
    order_id BYTEA NOT NULL,
    price_number BIGINT NOT NULL,
    psn_no BYTEA NOT NULL,
    insutype TEXT NOT NULL,
    insuplc_admdvs TEXT NOT NULL,
    mdtrt_cert_type TEXT NOT NULL,
    mdtrt_cert_no BYTEA NOT NULL,
    med_type TEXT NOT NULL,
    psn_setlway TEXT NOT NULL,
    acct_used_flag BOOLEAN NOT NULL,
    mdtrt_id TEXT NOT NULL,
    chrg_bchno TEXT NOT NULL,
    invono TEXT NOT NULL,
    medfee_sumamt BIGINT NOT NULL,
    fulamt_ownpay_amt BIGINT NOT NULL,
    overlmt_selfpay BIGINT NOT NULL,
    preselfpay_amt BIGINT NOT NULL,
    inscp_scp_amt BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, msgid),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);
CREATE INDEX settlement_input_order ON settlement_input (tenant, order_id);

-- origin: who had it settled; so far only the platform itself. refd_setl_flag as the bureau told it with the settlement:
-- what becomes of it later is a row of settlement_undo, never a change of this one.
CREATE TABLE settlement (
    tenant BYTEA NOT NULL,
    setl_id TEXT NOT NULL,
    order_id BYTEA NOT NULL,
    origin TEXT NOT NULL,
    refd_setl_flag TEXT NOT NULL,
    msgid TEXT NOT NULL,
    inf_refmsgid TEXT NOT NULL,
    mdtrt_id TEXT NOT NULL,
    insutype TEXT NOT NULL,
    setl_time_us BIGINT NOT NULL,
    clr_type TEXT NOT NULL,
    clr_way TEXT NOT NULL,
    clr_optins TEXT NOT NULL,
    fund BIGINT NOT NULL,
    other_funds BIGINT NOT NULL,
    account_own BIGINT NOT NULL,
    account_mulaid BIGINT NOT NULL,
    hospital BIGINT NOT NULL,
    cash BIGINT NOT NULL,
    reply BYTEA NOT NULL,
    PRIMARY KEY (tenant, setl_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX settlement_order ON settlement (tenant, order_id);

-- undo_setl_id, msgid and inf_refmsgid are absent where the bureau says undone without showing the undo.
CREATE TABLE settlement_undo (
    tenant BYTEA NOT NULL,
    setl_id TEXT NOT NULL,
    order_id BYTEA NOT NULL,
    undo_setl_id TEXT,
    msgid TEXT,
    inf_refmsgid TEXT,
    setl_time_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, setl_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);
CREATE INDEX settlement_undo_order ON settlement_undo (tenant, order_id);

-- Every amount of setlinfo by its own name.
CREATE TABLE settlement_amount (
    tenant BYTEA NOT NULL,
    setl_id TEXT NOT NULL,
    name TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (tenant, setl_id, name)
);

-- Kinds, flags and ratios of setlinfo by their own names, as they were written.
CREATE TABLE settlement_text (
    tenant BYTEA NOT NULL,
    setl_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (tenant, setl_id, name)
);

CREATE TABLE settlement_fund (
    tenant BYTEA NOT NULL,
    setl_id TEXT NOT NULL,
    line INTEGER NOT NULL,
    fund_pay_type TEXT NOT NULL,
    fund_pay_type_name TEXT NOT NULL,
    inscp_scp_amt BIGINT NOT NULL,
    crt_payb_lmt_amt BIGINT NOT NULL,
    fund_payamt BIGINT NOT NULL,
    setl_proc_info TEXT NOT NULL,
    PRIMARY KEY (tenant, setl_id, line)
);

-- What the wallet is asked for an order, and by whom it is to be paid: written in the commit that decides to ask, and
-- asked again with the same content whatever the payer's login becomes. openid is a look-up hash.
CREATE TABLE prepay (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    out_trade_no TEXT NOT NULL,
    sp_mchid TEXT NOT NULL,
    merchant TEXT NOT NULL,
    appid TEXT NOT NULL,
    openid BYTEA,
    openid_sealed BYTEA,
    amount BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    asked_at_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, order_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);

CREATE TABLE cash_leg (
    tenant BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    transaction_id TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    merchant TEXT NOT NULL,
    amount BIGINT NOT NULL,
    success_time_us BIGINT NOT NULL,
    stray BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, order_id, transaction_id),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);

CREATE TABLE refund (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    institution TEXT NOT NULL,
    refund_no TEXT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    amount BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, institution, refund_no),
    FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id)
);
CREATE INDEX refund_order ON refund (tenant, order_id);
CREATE INDEX refund_state ON refund (state, created_at_us) WHERE state <> 'done';

-- ——— work ———

-- msgid is the number of the bureau message that the action sends; rows stay, so no number is ever sent twice.
CREATE TABLE action (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    order_id BYTEA NOT NULL,
    kind TEXT NOT NULL,
    doc TEXT NOT NULL,
    msgid TEXT,
    due_at_us BIGINT NOT NULL,
    started_by BYTEA,
    done BOOLEAN NOT NULL,
    attempts BIGINT NOT NULL,
    trace_id TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX action_msgid ON action (tenant, msgid) WHERE msgid IS NOT NULL;
CREATE INDEX action_order ON action (tenant, order_id);
CREATE INDEX action_due ON action (due_at_us) WHERE NOT done AND started_by IS NULL;
CREATE INDEX action_started ON action (started_by) WHERE NOT done AND started_by IS NOT NULL;

CREATE TABLE first_answer (
    tenant BYTEA NOT NULL,
    caller TEXT NOT NULL,
    caller_key TEXT NOT NULL,
    request BYTEA NOT NULL,
    order_id BYTEA,
    response BYTEA NOT NULL,
    PRIMARY KEY (tenant, caller, caller_key)
);

-- Processes belong to no tenant.
CREATE TABLE lease (
    process BYTEA NOT NULL PRIMARY KEY CHECK (length(process) = 16),
    renewed_at_us BIGINT NOT NULL
);

-- What one process does for all of them; its holder is whoever renewed it last.
CREATE TABLE duty (
    name TEXT NOT NULL PRIMARY KEY,
    holder BYTEA NOT NULL CHECK (length(holder) = 16),
    renewed_at_us BIGINT NOT NULL
);

-- What a statement says that is a transaction by itself and finds that something it was decided upon has moved: nothing of
-- it is written.
CREATE FUNCTION tongfu_moved() RETURNS INTEGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'moved' USING ERRCODE = 'serialization_failure';
END
$$;
