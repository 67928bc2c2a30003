//! Promises about letters from process to process.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::{Engine, process};

/// The next letter; fails when none comes in a time in which any engine would have delivered.
async fn next(mail: &mut Receiver<Vec<u8>>) -> Vec<u8> {
    let letter = tokio::time::timeout(Duration::from_secs(20), mail.recv()).await;
    letter.expect("a letter in time").expect("letters go on")
}

pub(crate) async fn a_letter_reaches_its_process_and_no_other(engine: &dyn Engine) {
    let (here, there) = (engine.open(), engine.open());
    let mut mine = here.mail(process(1)).await.expect("it answers");
    let mut theirs = there.mail(process(2)).await.expect("it answers");
    let all: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    for letter in [b"".to_vec(), b"\xff\x00\r\n".to_vec(), all] {
        here.send(process(2), letter.clone()).await.expect("it answers");
        there.send(process(1), b"another".to_vec()).await.expect("it answers");
        assert_eq!(next(&mut theirs).await, letter);
        assert_eq!(next(&mut mine).await, b"another");
    }
    here.send(process(1), b"to myself".to_vec()).await.expect("it answers");
    assert_eq!(next(&mut mine).await, b"to myself");
}

pub(crate) async fn letters_of_one_sender_come_in_the_order_in_which_they_were_sent(engine: &dyn Engine) {
    let (here, there) = (engine.open(), engine.open());
    let mut mail = there.mail(process(2)).await.expect("it answers");
    for number in 0_u32..500 {
        here.send(process(2), number.to_be_bytes().to_vec()).await.expect("it answers");
    }
    for number in 0_u32..500 {
        assert_eq!(next(&mut mail).await, number.to_be_bytes());
    }
}

pub(crate) async fn whoever_asks_later_gets_the_letters_instead(engine: &dyn Engine) {
    let state = engine.open();
    let mut former = state.mail(process(1)).await.expect("it answers");
    let mut present = state.mail(process(1)).await.expect("it answers");
    state.send(process(1), b"x".to_vec()).await.expect("it answers");
    assert_eq!(next(&mut present).await, b"x");
    assert_eq!(former.recv().await, None);
}

pub(crate) async fn a_letter_to_nobody_is_harmless(engine: &dyn Engine) {
    let state = engine.open();
    state.send(process(9), b"x".to_vec()).await.expect("it answers");
    drop(state.mail(process(9)).await.expect("it answers"));
    for _ in 0..2 {
        state.send(process(9), b"x".to_vec()).await.expect("it answers");
    }
    let mut mail = state.mail(process(9)).await.expect("it answers");
    state.send(process(9), b"y".to_vec()).await.expect("it answers");
    // One that was still on its way may come before it.
    while next(&mut mail).await != b"y" {}
}
