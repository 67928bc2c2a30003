//! The tables as diesel sees them: the same for every engine. Only BigInt, Integer, SmallInt, Bool, Text and Binary, so that
//! one query serves SQLite and PostgreSQL. Columns are explained in `migrations/`.

diesel::table! {
    tenant (id) {
        #[sql_name = "tenant"]
        id -> Binary,
        area -> Text,
        name -> Text,
        current_key -> Integer,
        parties -> Binary,
    }
}

diesel::table! {
    channel (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        name -> Text,
        key_hash -> Binary,
        revoked -> Bool,
    }
}

diesel::table! {
    institution (tenant, code) {
        tenant -> Binary,
        code -> Text,
        name -> Text,
        area -> Text,
        merchant -> Text,
        adapter_key -> Nullable<Text>,
        suspended -> Bool,
    }
}

diesel::table! {
    channel_user (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        channel -> Binary,
        phone -> Binary,
        phone_sealed -> Binary,
        openid -> Nullable<Binary>,
        openid_sealed -> Nullable<Binary>,
    }
}

diesel::table! {
    binding (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        epoch -> BigInt,
        level -> SmallInt,
        frozen -> Bool,
        person -> Binary,
        channel_user -> Binary,
        certno -> Binary,
        unbound -> Bool,
        phone -> Nullable<Binary>,
        card_no -> Nullable<Binary>,
        bind_no -> Nullable<Text>,
        checked_at_us -> BigInt,
        created_at_us -> BigInt,
        sealed -> Binary,
    }
}

diesel::table! {
    person_insurance (tenant, certno, line) {
        tenant -> Binary,
        certno -> Binary,
        line -> Integer,
        psn_no -> Binary,
        person -> Binary,
        insutype -> Text,
        insuplc_admdvs -> Text,
        psn_type -> Text,
        psn_insu_stas -> Text,
        cvlserv_flag -> Text,
        active -> Bool,
        emp_name -> Nullable<Binary>,
        checked_at_us -> BigInt,
    }
}

diesel::table! {
    visit_card (tenant, institution, card) {
        tenant -> Binary,
        institution -> Text,
        #[sql_name = "visit_card"]
        card -> Binary,
        certno -> Binary,
        psn_name_masked -> Text,
        bind_no -> Text,
        created_at_us -> BigInt,
    }
}

diesel::table! {
    bill (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        institution -> Text,
        bill_no -> Text,
        amount -> BigInt,
        state -> Text,
        expires_at_us -> BigInt,
        order_id -> Nullable<Binary>,
        last_order -> Nullable<Binary>,
        content -> Binary,
        kind -> Text,
        patient -> Binary,
        psn_name_masked -> Text,
        dept_name -> Text,
        dr_name -> Text,
        ipt_otp_no -> Text,
        med_type -> Text,
        dept_code -> Text,
        atddr_no -> Text,
        issued_at_us -> BigInt,
        sealed -> Binary,
    }
}

diesel::table! {
    bill_line (tenant, bill, line) {
        tenant -> Binary,
        bill -> Binary,
        line -> Integer,
        feedetl_sn -> Text,
        med_list_codg -> Nullable<Text>,
        medins_list_codg -> Text,
        pric -> BigInt,
        cnt -> BigInt,
        amount -> BigInt,
        rxno -> Nullable<Text>,
        rx_circ_flag -> Text,
        hosp_appr_flag -> Text,
        unit -> Nullable<Text>,
        spec -> Nullable<Text>,
        prd_days -> Nullable<BigInt>,
        level_hint -> Nullable<Text>,
    }
}

diesel::table! {
    orders (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        version -> BigInt,
        state -> Text,
        place -> Text,
        institution -> Text,
        bill -> Binary,
        payer -> Binary,
        binding -> Nullable<Binary>,
        person -> Nullable<Binary>,
        amount -> BigInt,
        deadline_at_us -> Nullable<BigInt>,
        look_at_us -> Nullable<BigInt>,
        suspended -> Bool,
        created_at_us -> BigInt,
        updated_at_us -> BigInt,
        trace_id -> Nullable<Text>,
        doc -> Text,
    }
}

diesel::table! {
    open_order (tenant, bill) {
        tenant -> Binary,
        bill -> Binary,
        order_id -> Binary,
    }
}

diesel::table! {
    person_claim (tenant, person) {
        tenant -> Binary,
        person -> Binary,
        order_id -> Binary,
    }
}

diesel::table! {
    history (tenant, order_id, version) {
        tenant -> Binary,
        order_id -> Binary,
        version -> BigInt,
        event_id -> Binary,
        at_us -> BigInt,
        event -> Text,
        from_state -> Nullable<Text>,
        to_state -> Text,
        doc -> Text,
    }
}

diesel::table! {
    record (tenant, order_id, sequence) {
        tenant -> Binary,
        order_id -> Binary,
        sequence -> BigInt,
        published -> Bool,
        doc -> Text,
    }
}

diesel::table! {
    posting (tenant, order_id, version, line) {
        tenant -> Binary,
        order_id -> Binary,
        version -> BigInt,
        line -> Integer,
        event_id -> Binary,
        account -> Text,
        amount -> BigInt,
        counterparty_at_us -> BigInt,
        at_us -> BigInt,
        rolled_up -> Bool,
    }
}

diesel::table! {
    balance (tenant, account, accounted_on) {
        tenant -> Binary,
        account -> Text,
        accounted_on -> Text,
        amount -> BigInt,
    }
}

diesel::table! {
    authorisation (tenant, order_id, version) {
        tenant -> Binary,
        order_id -> Binary,
        version -> BigInt,
        kind -> Text,
        level -> SmallInt,
        at_us -> BigInt,
        evidence -> Nullable<Binary>,
        fund -> BigInt,
        other_funds -> BigInt,
        account_own -> BigInt,
        account_mulaid -> BigInt,
        hospital -> BigInt,
        cash -> BigInt,
    }
}

diesel::table! {
    price_line (tenant, order_id, price_number, line) {
        tenant -> Binary,
        order_id -> Binary,
        price_number -> BigInt,
        line -> Integer,
        feedetl_sn -> Text,
        amount -> BigInt,
        pric_uplmt_amt -> Nullable<BigInt>,
        selfpay_prop -> BigInt,
        fulamt_ownpay -> BigInt,
        overlmt -> BigInt,
        preselfpay -> BigInt,
        inscp_scp -> BigInt,
        chrgitm_lv -> Text,
        flags -> Text,
    }
}

diesel::table! {
    settlement_input (tenant, msgid) {
        tenant -> Binary,
        msgid -> Text,
        order_id -> Binary,
        price_number -> BigInt,
        psn_no -> Binary,
        insutype -> Text,
        insuplc_admdvs -> Text,
        mdtrt_cert_type -> Text,
        mdtrt_cert_no -> Binary,
        med_type -> Text,
        psn_setlway -> Text,
        acct_used_flag -> Bool,
        mdtrt_id -> Text,
        chrg_bchno -> Text,
        invono -> Text,
        medfee_sumamt -> BigInt,
        fulamt_ownpay_amt -> BigInt,
        overlmt_selfpay -> BigInt,
        preselfpay_amt -> BigInt,
        inscp_scp_amt -> BigInt,
        sealed -> Binary,
    }
}

diesel::table! {
    settlement (tenant, setl_id) {
        tenant -> Binary,
        setl_id -> Text,
        order_id -> Binary,
        origin -> Text,
        refd_setl_flag -> Text,
        msgid -> Text,
        inf_refmsgid -> Text,
        mdtrt_id -> Text,
        insutype -> Text,
        setl_time_us -> BigInt,
        clr_type -> Text,
        clr_way -> Text,
        clr_optins -> Text,
        fund -> BigInt,
        other_funds -> BigInt,
        account_own -> BigInt,
        account_mulaid -> BigInt,
        hospital -> BigInt,
        cash -> BigInt,
        reply -> Binary,
    }
}

diesel::table! {
    settlement_undo (tenant, setl_id) {
        tenant -> Binary,
        setl_id -> Text,
        order_id -> Binary,
        undo_setl_id -> Nullable<Text>,
        msgid -> Nullable<Text>,
        inf_refmsgid -> Nullable<Text>,
        setl_time_us -> BigInt,
    }
}

diesel::table! {
    settlement_text (tenant, setl_id, name) {
        tenant -> Binary,
        setl_id -> Text,
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    prepay (tenant, order_id) {
        tenant -> Binary,
        order_id -> Binary,
        out_trade_no -> Text,
        sp_mchid -> Text,
        merchant -> Text,
        appid -> Text,
        openid -> Nullable<Binary>,
        openid_sealed -> Nullable<Binary>,
        amount -> BigInt,
        expires_at_us -> BigInt,
        asked_at_us -> BigInt,
    }
}

diesel::table! {
    settlement_amount (tenant, setl_id, name) {
        tenant -> Binary,
        setl_id -> Text,
        name -> Text,
        amount -> BigInt,
    }
}

diesel::table! {
    settlement_fund (tenant, setl_id, line) {
        tenant -> Binary,
        setl_id -> Text,
        line -> Integer,
        fund_pay_type -> Text,
        fund_pay_type_name -> Text,
        inscp_scp_amt -> BigInt,
        crt_payb_lmt_amt -> BigInt,
        fund_payamt -> BigInt,
        setl_proc_info -> Text,
    }
}

diesel::table! {
    cash_leg (tenant, order_id, transaction_id) {
        tenant -> Binary,
        order_id -> Binary,
        transaction_id -> Text,
        out_trade_no -> Text,
        merchant -> Text,
        amount -> BigInt,
        success_time_us -> BigInt,
        stray -> Bool,
    }
}

diesel::table! {
    refund (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        order_id -> Binary,
        institution -> Text,
        refund_no -> Nullable<Text>,
        kind -> Text,
        state -> Text,
        amount -> BigInt,
        created_at_us -> BigInt,
        doc -> Text,
    }
}

diesel::table! {
    action (tenant, id) {
        tenant -> Binary,
        id -> Binary,
        order_id -> Binary,
        kind -> Text,
        doc -> Text,
        msgid -> Nullable<Text>,
        due_at_us -> BigInt,
        started_by -> Nullable<Binary>,
        done -> Bool,
        attempts -> BigInt,
        trace_id -> Nullable<Text>,
    }
}

diesel::table! {
    first_answer (tenant, caller, caller_key) {
        tenant -> Binary,
        caller -> Text,
        caller_key -> Text,
        request -> Binary,
        order_id -> Nullable<Binary>,
        response -> Binary,
    }
}

diesel::table! {
    lease (process) {
        process -> Binary,
        renewed_at_us -> BigInt,
    }
}

diesel::table! {
    duty (name) {
        name -> Text,
        holder -> Binary,
        renewed_at_us -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(action, bill, binding, lease, orders, person_claim, refund);
diesel::allow_tables_to_appear_in_same_query!(settlement, settlement_undo);
