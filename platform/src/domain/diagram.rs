//! The state diagrams of the documents, printed from the tables themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::order::{Place, TABLE};
use super::refund;

/// Both machines, orders first, as two Mermaid diagrams. Each arrow names the event and the handler that decides it.
pub fn mermaid() -> [String; 2] {
    [orders(), refunds()]
}

fn orders() -> String {
    let mut text = String::from("stateDiagram-v2\n    direction TB\n    [*] --> Created : open\n");
    let mut arrows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    // A suspended order decides late answers as the state it came from: drawing those again would hide the picture.
    for row in TABLE.iter().filter(|row| row.place != Place::Suspended) {
        for to in row.to.iter().filter(|to| **to != row.place) {
            let label = format!("{} / {}", row.event, row.name);
            arrows.entry((format!("{:?}", row.place), format!("{to:?}"))).or_default().push(label);
        }
    }
    write_arrows(&mut text, &arrows);
    text.push_str("    Suspended --> [*] : learn, or a person decides\n    Closed --> [*]\n    Completed --> [*]\n");
    text
}

fn refunds() -> String {
    let mut text = String::from("stateDiagram-v2\n    direction TB\n    [*] --> undoing_insurance : grant\n");
    text.push_str("    [*] --> returning_cash : grant\n");
    let mut arrows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in refund::TABLE {
        for to in row.to.iter().filter(|to| **to != row.state) {
            let label = format!("{} / {}", row.event, row.name);
            arrows.entry((row.state.to_owned(), (*to).to_owned())).or_default().push(label);
        }
    }
    write_arrows(&mut text, &arrows);
    text.push_str("    done --> [*]\n    refused --> [*]\n");
    text
}

fn write_arrows(text: &mut String, arrows: &BTreeMap<(String, String), Vec<String>>) {
    for ((from, to), labels) in arrows {
        let _ = writeln!(text, "    {from} --> {to} : {}", labels.join("<br/>"));
    }
}
