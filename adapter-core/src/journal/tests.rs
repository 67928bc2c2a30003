use super::*;
use crate::clock::{Clock as _, RealClock};
use schema::ids::TenantId;

fn open(path: &Path) -> Journal {
    let vault = Vault::derive(&[7; 32], TenantId::from_uuid(uuid::Uuid::nil()), 0);
    Journal::open(path, vault, RealClock::shared()).expect("a journal")
}

fn ask(kind: AskKind, subject: &str, payload: &str) -> NewAsk {
    NewAsk {
        id: RealClock::default().message_id(),
        kind,
        subject: subject.into(),
        payload: payload.into(),
        trace_id: "t".into(),
        after: None,
    }
}

#[tokio::test]
async fn the_same_bill_is_one_ask_and_other_content_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir.path().join("j.db"));
    let first = ask(AskKind::Bill, "B1", "one");
    assert_eq!(journal.ask(&first).await.expect("asked"), Asked::Stored(first.id));
    let again = journal.ask(&ask(AskKind::Bill, "B1", "one")).await.expect("asked");
    assert_eq!(again, Asked::Already { id: first.id, reply: None });
    let other = ask(AskKind::Bill, "B1", "two");
    let changed = |reply: Option<&str>| Asked::Changed { id: first.id, reply: reply.map(str::to_owned) };
    assert_eq!(journal.ask(&other).await.expect("asked"), changed(None));
    let after = NewAsk { after: Some(first.id), ..other };
    assert_eq!(journal.ask(&after).await.expect("asked"), changed(None), "what waits is not overtaken");
    assert!(journal.replied(first.id, "done").await.expect("replied"));
    assert!(!journal.replied(first.id, "refused").await.expect("replied"), "the first reply wins");
    let again = journal.ask(&ask(AskKind::Bill, "B1", "one")).await.expect("asked");
    assert_eq!(again, Asked::Already { id: first.id, reply: Some("done".into()) });
    assert_eq!(journal.ask(&NewAsk { after: None, ..after.clone() }).await.expect("asked"), changed(Some("done")));
    assert_eq!(journal.ask(&after).await.expect("asked"), Asked::Stored(after.id), "whoever saw that reply may go on");
    let late = NewAsk { after: Some(first.id), ..ask(AskKind::Bill, "B1", "three") };
    let known = journal.ask(&late).await.expect("asked");
    assert_eq!(known, Asked::Changed { id: after.id, reply: None }, "but not twice");
}

#[tokio::test]
async fn a_claim_is_asked_anew_only_when_it_was_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir.path().join("j.db"));
    let first = ask(AskKind::Claim, "B1", "claim");
    journal.ask(&first).await.expect("asked");
    let anew = NewAsk { after: Some(first.id), ..ask(AskKind::Claim, "B1", "claim") };
    assert_eq!(journal.ask(&anew).await.expect("asked"), Asked::Already { id: first.id, reply: None });
    journal.replied(first.id, "in progress").await.expect("replied");
    assert_eq!(journal.ask(&anew).await.expect("asked"), Asked::Stored(anew.id));
    let latest = journal.latest_ask(AskKind::Claim, "B1").await.expect("read").expect("there");
    assert_eq!((latest.id, latest.reply), (anew.id, None));
}

#[tokio::test]
async fn the_first_answer_to_work_wins_and_survives_reopening_byte_for_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("j.db");
    let work = NewWork { id: RealClock::default().message_id(), payload: "work".into(), trace_id: Some("t".into()) };
    let journal = open(&path);
    assert!(matches!(journal.receive(&work).await.expect("received"), Received::New { .. }));
    assert!(matches!(journal.receive(&work).await.expect("received"), Received::Waiting { .. }));
    let Answered::First(first) = journal.answer(work.id, "yes").await.expect("answered") else {
        unreachable!("it is the first answer");
    };
    drop(journal);
    let journal = open(&path);
    assert_eq!(journal.answer(work.id, "no").await.expect("answered"), Answered::Before(first.clone()));
    assert_eq!(journal.receive(&work).await.expect("received"), Received::Answered(first));
    assert!(journal.waiting_work().expect("read").is_empty());
    let nobody = RealClock::default().message_id();
    assert_eq!(journal.answer(nobody, "yes").await.expect("answered"), Answered::Unknown);
}

#[tokio::test]
async fn only_what_was_answered_is_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir.path().join("j.db"));
    let (answered, waiting) = (ask(AskKind::Bill, "B1", "one"), ask(AskKind::Bill, "B2", "two"));
    journal.ask(&answered).await.expect("asked");
    journal.ask(&waiting).await.expect("asked");
    journal.replied(answered.id, "done").await.expect("replied");
    assert_eq!(journal.forget(i64::MAX).await.expect("forgotten"), 1);
    let left: Vec<_> = journal.waiting_asks().expect("read").into_iter().map(|ask| ask.id).collect();
    assert_eq!(left, [waiting.id]);
}

#[tokio::test]
async fn the_file_shows_no_content_without_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("j.db");
    let journal = open(&path);
    journal.ask(&ask(AskKind::Bill, "B1", "王小明 441900199001011234")).await.expect("asked");
    drop(journal);
    for entry in std::fs::read_dir(dir.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(18).any(|window| window == b"441900199001011234"));
    }
}
