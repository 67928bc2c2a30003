//! A small city to try a store in: one tenant, one institution, one login with one binding, and the real decisions.

use std::sync::Arc;

use platform::clock::{Clock, SetClock};
use platform::domain::action::{Action, Planned};
use platform::domain::bill::{BillFacts, BillState};
use platform::domain::binding::BindingFacts;
use platform::domain::deadline::Rules;
use platform::domain::order::{self, Decision, Echoed, Event, Given, Inputs, Insured, Order, PriceCame, Taken, Undone};
use platform::domain::refund::{self, RefundAsked, RefundEvent};
use platform::domain::settlement::{Clearing, FundDetail, Settlement};
use platform::store::{
    BillLine, BindingRow, CallerKey, Change, ChannelRow, ChannelUserRow, Commit, InstitutionRow, Loaded, NewAction,
    NewBill, NewPrepay, OrderWrite, Store, Subject, TenantRow, Want, Written,
};
use schema::bill::{BillKind, LineFlags, LineResult};
use schema::event::{CloudEvent, Transition};
use schema::his::Guidance;
use schema::ids::{
    ActionId, BillId, BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, MessageId, OrderId, ProcessId,
    RefundId, TenantId,
};
use schema::money::Fen;
use schema::seal::{Lookup, Sealed, Vault};
use schema::split::Split;

pub(crate) const NOON_US: i64 = 1_763_870_400_000_000;
pub(crate) const HOUR_US: i64 = 3_600_000_000;

pub(crate) const RULES: Rules = Rules {
    price_ms: 60_000,
    priced_ms: 1_800_000,
    code_ms: 120_000,
    code_sends: 3,
    bureau_limit_ms: 90_000,
    after_reversal_ms: 90_000,
    ask_again_ms: 5_000,
    collect_ms: 900_000,
    ask_wallet_ms: 5_000,
    tell_ms: 60_000,
    patience_ms: 600_000,
    refund_ms: 600_000,
};

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) vault: Vault,
    pub(crate) tenant: TenantId,
    pub(crate) channel: ChannelId,
    pub(crate) user: ChannelUserId,
    pub(crate) binding: BindingFacts,
    pub(crate) institution: InstitutionCode,
    pub(crate) me: ProcessId,
}

impl World {
    /// Sets the city up in an empty store.
    pub(crate) fn new(store: Box<dyn Store>) -> World {
        World::seeded(Arc::from(store), 7)
    }

    /// Another seed is another tenant, in whatever store.
    pub(crate) fn seeded(store: Arc<dyn Store>, seed: u64) -> World {
        let clock = SetClock::new(NOON_US, seed);
        let tenant = TenantId::from_uuid(clock.fresh());
        let vault = Vault::derive(&[7; 32], tenant, 0);
        let binding = BindingFacts {
            id: BindingId::from_uuid(clock.fresh()),
            epoch: 1,
            level: 2,
            frozen: false,
            person: vault.lookup("person", "441900/1001"),
        };
        let world = World {
            channel: ChannelId::from_uuid(clock.fresh()),
            user: ChannelUserId::from_uuid(clock.fresh()),
            me: ProcessId::from_uuid(clock.fresh()),
            institution: "H44190000001".parse().expect("a code"),
            store,
            clock,
            vault,
            tenant,
            binding,
        };
        world.store.add_tenant(&world.tenant_row()).expect("a tenant");
        world.store.add_channel(&world.channel_row()).expect("a channel");
        world.store.put_institution(&world.institution_row()).expect("an institution");
        world.store.channel_user(&world.user_row(), None).expect("a login");
        assert_eq!(world.store.add_binding(&world.binding_row(), None), Ok(true));
        world
    }

    /// The same city after its store was closed and opened again.
    pub(crate) fn reopened(self, engine: &dyn super::Engine) -> World {
        let World { store, clock, vault, tenant, channel, user, binding, institution, me } = self;
        drop(store);
        World { store: Arc::from(engine.open()), clock, vault, tenant, channel, user, binding, institution, me }
    }

    pub(crate) fn seal(&self, purpose: &str, text: &str) -> Sealed {
        self.vault.seal(self.clock.nonce(), purpose, text.as_bytes())
    }

    pub(crate) fn tenant_row(&self) -> TenantRow {
        TenantRow {
            id: self.tenant,
            area: "441900".into(),
            name: "东莞".into(),
            current_key: 0,
            parties: self.seal("parties", "{}"),
        }
    }

    pub(crate) fn channel_row(&self) -> ChannelRow {
        ChannelRow {
            tenant: self.tenant, id: self.channel, name: "粤城通".into(), key_hash: [9; 32], revoked: false
        }
    }

    pub(crate) fn institution_row(&self) -> InstitutionRow {
        InstitutionRow {
            tenant: self.tenant,
            code: self.institution.clone(),
            name: "第一医院".into(),
            area: "441901".into(),
            merchant: "1900000109".into(),
            key: None,
            suspended: false,
        }
    }

    pub(crate) fn user_row(&self) -> ChannelUserRow {
        ChannelUserRow {
            tenant: self.tenant,
            id: self.user,
            channel: self.channel,
            phone: self.vault.lookup("phone", "13800001234"),
            phone_sealed: self.seal("phone", "13800001234"),
            openid: Some(self.vault.lookup("openid", "o-1")),
            openid_sealed: Some(self.seal("openid", "o-1")),
        }
    }

    pub(crate) fn binding_row(&self) -> BindingRow {
        BindingRow {
            tenant: self.tenant,
            facts: self.binding.clone(),
            channel_user: self.user,
            certno: self.certno(),
            sealed: self.seal("person", "{}"),
            unbound: false,
            phone: Some(self.vault.lookup("phone", "13800001234")),
            card_no: None,
            bind_no: Some("B-1".into()),
            checked_at_us: NOON_US,
            created_at_us: NOON_US,
            insurances: None,
        }
    }

    pub(crate) fn certno(&self) -> Lookup {
        self.vault.lookup("certno", "441900199001011234")
    }

    pub(crate) fn want(&self, subject: Subject) -> Want {
        Want { tenant: self.tenant, subject, binding: None, answers: None, key: None }
    }

    pub(crate) fn key(&self, key: &str) -> CallerKey {
        CallerKey { caller: format!("user:{}", self.user), key: key.into(), request: [3; 32] }
    }

    pub(crate) fn new_bill(&self, bill_no: &str, amount: i64) -> NewBill {
        NewBill {
            facts: BillFacts {
                id: BillId::from_uuid(self.clock.fresh()),
                bill_no: bill_no.into(),
                institution: self.institution.clone(),
                amount: Fen::new(amount),
                state: BillState::Open,
                expires_at_us: NOON_US + 24 * HOUR_US,
                order: None,
            },
            content: [5; 32],
            kind: BillKind::Outpatient,
            patient: self.certno(),
            psn_name_masked: "王*明".into(),
            dept_name: "内科".into(),
            dr_name: "李医生".into(),
            ipt_otp_no: "MZ1".into(),
            med_type: "11".into(),
            dept_code: "D1".into(),
            atddr_no: "A1".into(),
            issued_at_us: self.clock.now_us(),
            sealed: self.seal("bill", "{\"whole\":\"bill\"}"),
            lines: vec![self.bill_line("1", amount / 2), self.bill_line("2", amount - amount / 2)],
        }
    }

    /// A fee line; the second is one that the nation has no code for.
    pub(crate) fn bill_line(&self, feedetl_sn: &str, amount: i64) -> BillLine {
        let national = feedetl_sn == "1";
        BillLine {
            feedetl_sn: feedetl_sn.into(),
            med_list_codg: national.then(|| "XA02AXX095A001010103357".into()),
            medins_list_codg: format!("Y{feedetl_sn}"),
            pric: "12.345678".parse().expect("a price"),
            cnt: "1.5".parse().expect("a count"),
            amount: Fen::new(amount),
            rxno: national.then(|| "RX1".into()),
            rx_circ_flag: "0".into(),
            hosp_appr_flag: "1".into(),
            unit: national.then(|| "盒".into()),
            spec: national.then(|| "0.3g*12".into()),
            prd_days: national.then_some(7),
            level_hint: national.then(|| "乙".into()),
        }
    }

    /// Stores a bill and returns its id.
    pub(crate) fn bill(&self, bill_no: &str, amount: i64) -> BillId {
        let new_bill = self.new_bill(bill_no, amount);
        let id = new_bill.facts.id;
        let want = self.want(Subject::BillNo(self.institution.clone(), bill_no.into()));
        let written = self.commit(&[want], vec![Some(Change { new_bill: Some(new_bill), ..Change::default() })]);
        assert_eq!(written, [Written::Done]);
        id
    }

    /// Commits changes that were made without looking.
    pub(crate) fn commit(&self, wants: &[Want], changes: Vec<Option<Change>>) -> Vec<Written> {
        let mut changes = Some(changes);
        match self.store.transact(wants, &mut |_| changes.take().expect("decide is called once")) {
            Commit::Committed(written) => written,
            other => unreachable!("the batch was not committed: {other:?}"),
        }
    }

    /// Commits one change that was made without looking.
    pub(crate) fn commit_one(&self, change: Change) -> Written {
        self.commit(&[self.want(Subject::Nothing)], vec![Some(change)])[0]
    }

    /// Loads one want and changes nothing.
    pub(crate) fn look(&self, want: Want) -> Loaded {
        let mut seen = None;
        let commit = self.store.transact(&[want], &mut |mut loaded| {
            seen = loaded.pop();
            vec![None]
        });
        assert_eq!(commit, Commit::Committed(vec![Written::Done]));
        seen.expect("what was loaded")
    }

    pub(crate) fn order(&self, id: OrderId) -> Order {
        self.store.order(self.tenant, id).expect("the store answers").expect("the order")
    }

    /// The change that an event makes of an order as it is stored now.
    pub(crate) fn decide(&self, order: OrderId, event: &Event) -> Change {
        self.decided(&self.look(self.want(Subject::Order(order))), event)
    }

    /// The change that opens an order for a bill as it is stored now.
    pub(crate) fn decide_opening(&self, bill: BillId, insured: bool) -> Change {
        self.opening(&self.look(self.want(Subject::Bill(bill))), insured)
    }

    /// Opens an order and returns it.
    pub(crate) fn open(&self, bill: BillId, insured: bool) -> Order {
        let mut opened = None;
        let commit = self.store.transact(&[self.want(Subject::Bill(bill))], &mut |loaded| {
            let change = self.opening(&loaded[0], insured);
            opened = change.order.as_ref().map(|write| write.after.clone());
            vec![Some(change)]
        });
        assert_eq!(commit, Commit::Committed(vec![Written::Done]));
        opened.expect("an order")
    }

    /// The change that opens an order for the loaded bill.
    pub(crate) fn opening(&self, loaded: &Loaded, insured: bool) -> Change {
        let insured = insured.then_some(Insured {
            binding: self.binding.id,
            epoch: self.binding.epoch,
            person: self.binding.person,
            use_account: true,
        });
        let bill = &loaded.bill.as_ref().expect("the bill").facts;
        let given = self.given(bill, "msg-open");
        let id = OrderId::from_uuid(self.clock.fresh());
        let decision =
            order::open(id, self.tenant, self.user, "1900000109", insured, None, &given).expect("an opening");
        let mut change = self.change(None, "opened", "{}".into(), &decision);
        change.bill = Some((bill.id, bill.state, Some(id)));
        change
    }

    fn given<'a>(&'a self, bill: &'a BillFacts, msgid: &'a str) -> Given<'a> {
        Given {
            now_us: self.clock.now_us(),
            rules: &RULES,
            can_ask_by_visit: true,
            bill,
            binding: Some(&self.binding),
            msgid,
            message: MessageId::from_uuid(self.clock.fresh()),
            refund: RefundId::from_uuid(self.clock.fresh()),
        }
    }

    /// Decides an event on what was loaded.
    pub(crate) fn decided(&self, loaded: &Loaded, event: &Event) -> Change {
        let order = loaded.order.as_ref().expect("the order");
        let bill = &loaded.bill.as_ref().expect("its bill").facts;
        let msgid = format!("msg-{}", self.clock.below(1_000_000));
        let given = self.given(bill, &msgid);
        let decision = order::next(order, event, &given).expect("a decision");
        let doc = serde_json::to_string(event).expect("an event is JSON");
        let mut change = self.change(Some(order), event.kind(), doc, &decision);
        match event {
            Event::SettleDone(settlement) | Event::SettleFound(settlement) => {
                change.settlement = Some(settlement.clone());
            }
            Event::UndoDone(undone) | Event::UndoFound(undone) => {
                change.undone = order.state.settled().map(|settled| (settled.setl_id.clone(), undone.clone()));
            }
            Event::PriceCame(came) => {
                let number = decision.next.price.as_ref().map_or(0, |price| price.number);
                change.price_lines = Some((number, came.lines.clone()));
            }
            _ => {}
        }
        if decision.next.state.place() == order::Place::Paid {
            change.bill = Some((bill.id, BillState::Paid, Some(order.id)));
        }
        change
    }

    /// A decision as the rows it becomes.
    pub(crate) fn change(
        &self,
        before: Option<&Order>,
        event: &'static str,
        event_doc: String,
        made: &Decision,
    ) -> Change {
        let next = &made.next;
        let event_id = EventId::from_uuid(self.clock.fresh());
        let from = before.map(|order| order.state.place().word());
        let held = before.is_some_and(|order| order.state.holds_person());
        let person = next.insured.as_ref().and_then(|insured| {
            let holds = next.state.holds_person();
            (holds != held).then_some((insured.person, next.id, holds))
        });
        let record = CloudEvent {
            specversion: "1.0".into(),
            id: event_id,
            kind: format!("cn.tongfu.order.{}.v1", next.state.place().word()),
            source: format!("/tongfu/{}", self.tenant),
            subject: next.id,
            time: "2025-11-23T04:00:00Z".into(),
            tenantid: self.tenant,
            sequence: next.version,
            datacontenttype: "application/json".into(),
            dataschema: format!("order-{}.v1.json", next.state.place().word()),
            data: Transition {
                version: next.version,
                event: event.into(),
                from: from.map(str::to_owned),
                to: next.state.place().word().into(),
                institution: next.bill.institution.clone(),
                bill_no: next.bill.bill_no.clone(),
                amount_fen: next.bill.amount,
                split: next.price.as_ref().map(|price| price.split),
                setl_id: next.state.settled().map(|settled| settled.setl_id.clone()),
                transaction_id: next.state.taken().map(|taken| taken.transaction_id.clone()),
                refunded_fen: next.refunded,
                reason: None,
                refund: None,
            },
        };
        let prepay = made.actions.iter().find_map(|planned| match &planned.action {
            Action::Prepay { out_trade_no, amount, expires_at_us } => Some(NewPrepay {
                out_trade_no: out_trade_no.clone(),
                sp_mchid: "1900007291".into(),
                appid: "wx8888888888888888".into(),
                amount: *amount,
                expires_at_us: *expires_at_us,
            }),
            _ => None,
        });
        let actions = made.actions.iter().map(|planned| self.action(next.id, planned)).collect();
        Change {
            order: Some(OrderWrite {
                before: before.map_or(0, |order| order.version),
                after: next.clone(),
                event_id,
                event,
                event_doc,
                from,
                record,
                trace_id: Some(event.to_owned()),
            }),
            person,
            refunds: made.refund.iter().cloned().collect(),
            postings: made.postings.clone(),
            prepay,
            actions,
            ..Change::default()
        }
    }

    fn action(&self, order: OrderId, planned: &Planned) -> NewAction {
        let now = planned.due_at_us <= self.clock.now_us();
        NewAction {
            id: ActionId::from_uuid(self.clock.fresh()),
            order,
            action: planned.action.clone(),
            due_at_us: planned.due_at_us,
            started_by: now.then_some(self.me),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        }
    }

    /// Lets an event happen to an order; returns the order after it.
    pub(crate) fn step(&self, order: OrderId, event: &Event) -> Order {
        let commit = self
            .store
            .transact(&[self.want(Subject::Order(order))], &mut |loaded| vec![Some(self.decided(&loaded[0], event))]);
        assert_eq!(commit, Commit::Committed(vec![Written::Done]), "{}", event.kind());
        self.order(order)
    }

    /// The institution's price of an insured order: 600 pooled, 250 own account, 150 cash out of 1000.
    pub(crate) fn price(&self, insured: bool, amount: i64) -> Event {
        let split = if insured { self.split(amount) } else { Split::all_cash(Fen::new(amount)) };
        let inputs = insured.then(|| Inputs {
            sealed: self.seal("settle_inputs", "{\"psn_no\":\"1001\"}"),
            psn_no: self.vault.lookup("psn_no", "1001"),
            insuplc_admdvs: "441900".into(),
            mdtrt_cert_type: "02".into(),
            mdtrt_cert_no: self.vault.lookup("mdtrt_cert_no", "441900199001011234"),
            med_type: "11".into(),
            psn_setlway: "01".into(),
            acct_used: true,
            mdtrt_id: "M1".into(),
            chrg_bchno: "C1".into(),
            invono: "I1".into(),
            insutype: "310".into(),
            echoed: Echoed {
                medfee_sumamt: Fen::new(amount),
                fulamt_ownpay_amt: Fen::new(1),
                overlmt_selfpay: Fen::new(2),
                preselfpay_amt: Fen::new(3),
                inscp_scp_amt: Fen::new(amount - 6),
            },
        });
        Event::PriceCame(Box::new(PriceCame {
            split,
            inputs,
            lines: vec![self.line("1", amount / 2), self.line("2", amount - amount / 2)],
            valid_until_us: self.clock.now_us() + HOUR_US,
            faults: Vec::new(),
        }))
    }

    pub(crate) fn split(&self, amount: i64) -> Split {
        Split {
            fund_fen: Fen::new(amount * 6 / 10),
            account_own_fen: Fen::new(amount * 25 / 100),
            cash_fen: Fen::new(amount - amount * 6 / 10 - amount * 25 / 100),
            ..Split::default()
        }
    }

    fn line(&self, feedetl_sn: &str, amount: i64) -> LineResult {
        LineResult {
            feedetl_sn: feedetl_sn.into(),
            amount_fen: Fen::new(amount),
            pric_uplmt_amt: (feedetl_sn == "1").then(|| "12.345678".parse().expect("a price")),
            selfpay_prop: "0.1".parse().expect("a ratio"),
            fulamt_ownpay_fen: Fen::ZERO,
            overlmt_fen: Fen::ZERO,
            preselfpay_fen: Fen::new(amount / 10),
            inscp_scp_fen: Fen::new(amount - amount / 10),
            chrgitm_lv: "1".into(),
            flags: LineFlags {
                med_chrgitm_type: Some("09".into()),
                lmt_used_flag: (feedetl_sn == "1").then(|| "1".into()),
                ..LineFlags::default()
            },
        }
    }

    pub(crate) fn settlement(&self, order: &Order, setl_id: &str) -> Settlement {
        let order::State::Settling { msgid, .. } = &order.state else { unreachable!("the order settles") };
        let split = order.price.as_ref().expect("a price").split;
        Settlement {
            msgid: msgid.clone(),
            inf_refmsgid: "REF1".into(),
            setl_id: setl_id.into(),
            mdtrt_id: "M1".into(),
            split,
            insutype: "310".into(),
            setl_time_us: self.clock.now_us(),
            clearing: Clearing { clr_type: "11".into(), clr_way: "1".into(), clr_optins: "441900".into() },
            amounts: [("medfee_sumamt".to_owned(), order.bill.amount), ("acct_pay".to_owned(), split.account_own_fen)]
                .into(),
            texts: [("med_type".to_owned(), "11".to_owned()), ("pool_prop_selfpay".to_owned(), "0.7500".to_owned())]
                .into(),
            details: vec![FundDetail {
                fund_pay_type: "310100".into(),
                fund_pay_type_name: "统筹".into(),
                inscp_scp_amt: split.fund_fen,
                crt_payb_lmt_amt: Fen::new(10_000_000),
                fund_payamt: split.fund_fen,
                setl_proc_info: "政策范围×比例".into(),
            }],
            reply: self.seal("settle_reply", setl_id),
        }
    }

    /// Walks an insured order to where its payer may tap, and returns the tap.
    pub(crate) fn coded(&self, bill_no: &str, amount: i64) -> (Order, Event) {
        let order = self.open(self.bill(bill_no, amount), true);
        let order = self.step(order.id, &self.price(true, amount));
        let hash = self.vault.lookup("code", bill_no);
        let code = platform::domain::code::IssuedCode {
            hash,
            price_number: 1,
            expires_at_us: self.clock.now_us() + 60_000_000,
            tries_epoch: 0,
        };
        let order = self.step(order.id, &Event::CodeIssued { code });
        (order, Event::Authorised { offered: Some(hash) })
    }

    /// Walks an insured order to Settling.
    pub(crate) fn settling(&self, bill_no: &str, amount: i64) -> Order {
        let (order, authorised) = self.coded(bill_no, amount);
        self.step(order.id, &authorised)
    }

    /// Walks an insured order to Collecting.
    pub(crate) fn collecting(&self, bill_no: &str, amount: i64) -> Order {
        let order = self.settling(bill_no, amount);
        let settlement = self.settlement(&order, &format!("S-{bill_no}"));
        let order = self.step(order.id, &Event::SettleDone(Box::new(settlement)));
        self.step(order.id, &Event::PrepayDone { prepay_id: "P1".into() })
    }

    /// Walks an insured order to Completed.
    pub(crate) fn completed(&self, bill_no: &str, amount: i64) -> Order {
        let order = self.collecting(bill_no, amount);
        let order = self.step(order.id, &Event::WalletPaid(self.taken(&order, &format!("T-{bill_no}"))));
        self.step(order.id, &Event::TellBooked { guidance: Guidance::default() })
    }

    /// The institution wants everything back.
    pub(crate) fn whole_refund(&self) -> Event {
        Event::RefundAsked(RefundAsked {
            refund_no: Some("R1".into()),
            amount: None,
            reason: "退药".into(),
            replaced_by: None,
        })
    }

    /// What 2208 says of a settlement.
    pub(crate) fn undone(&self, setl_id: &str) -> Undone {
        Undone {
            undo_setl_id: format!("U-{setl_id}"),
            setl_time_us: self.clock.now_us(),
            msgid: Some("msg-2208".into()),
            inf_refmsgid: Some("REF2".into()),
        }
    }

    /// Lets an event happen to an order's last refund and what it means to the order, in one commit.
    pub(crate) fn refund_step(&self, order: OrderId, event: &RefundEvent) -> Order {
        let commit = self.store.transact(&[self.want(Subject::Order(order))], &mut |loaded| {
            vec![Some(self.refund_decided(&loaded[0], event))]
        });
        assert_eq!(commit, Commit::Committed(vec![Written::Done]), "{}", event.kind());
        self.order(order)
    }

    /// Decides an event of the last refund on what was loaded.
    pub(crate) fn refund_decided(&self, loaded: &Loaded, event: &RefundEvent) -> Change {
        let (order, bill) = (loaded.order.as_ref().expect("the order"), loaded.bill.as_ref().expect("its bill"));
        let last = loaded.refunds.last().expect("a refund");
        let given = self.given(&bill.facts, "msg-refund");
        let decided = refund::next(last, event, order, &given).expect("a decision");
        let told = match &decided.ended {
            Some(ended) => order::next(order, &Event::RefundEnded(ended.clone()), &given).expect("a decision"),
            None => Decision {
                next: Order { version: order.version + 1, ..order.clone() },
                postings: vec![],
                actions: vec![],
                refund: None,
            },
        };
        let postings = decided.postings.into_iter().chain(told.postings).collect();
        let mut change = self.change(Some(order), event.kind(), "{}".into(), &Decision { postings, ..told });
        change.refunds = vec![decided.next];
        if let (RefundEvent::UndoDone(undone), Some(settled)) = (event, &last.settled) {
            change.undone = Some((settled.setl_id.clone(), undone.clone()));
        }
        change
    }

    pub(crate) fn taken(&self, order: &Order, transaction_id: &str) -> Taken {
        let amount = order.price.as_ref().expect("a price").split.cash_fen;
        Taken {
            out_trade_no: order::out_trade_no(order.id),
            transaction_id: transaction_id.into(),
            amount,
            paid: amount,
            success_time_us: self.clock.now_us(),
        }
    }
}
