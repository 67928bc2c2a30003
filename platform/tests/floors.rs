//! The floors of ARCHITECTURE.md, read from the `use` lines: a floor uses those before it in the list, never those
//! behind it; only `store` names diesel, only `http` names actix, and `domain` is pure.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FLOORS: [&str; 12] = [
    "clock",
    "settings",
    "domain",
    "store",
    "ephemeral",
    "events",
    "parties",
    "metrics",
    "journey",
    "errands",
    "http",
    "startup",
];

/// settings hands `Rules` (a domain type) on, and metrics counts what the desk says: both lists are read by eye.
const ALLOWED_UPWARD: [(&str, &str); 2] = [("settings", "domain"), ("metrics", "journey")];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let inside = path.strip_prefix(&root).expect("below src").to_owned();
                let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().to_string();
                let floor = first.trim_end_matches(".rs").to_owned();
                found.push((floor, inside, fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    found
}

fn named_floors(text: &str) -> BTreeSet<&str> {
    text.match_indices("crate::")
        .map(|(at, _)| &text[at + "crate::".len()..])
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

#[test]
fn a_floor_uses_only_the_floors_above_it_in_the_list() {
    let height = |floor: &str| FLOORS.iter().position(|known| *known == floor);
    let mut wrong = Vec::new();
    for (floor, path, text) in sources() {
        if floor == "lib" || floor == "main" {
            continue;
        }
        let own = height(&floor).unwrap_or_else(|| panic!("{floor} stands on no floor: add it to the plan"));
        for used in named_floors(&text) {
            let allowed = height(used).is_none_or(|used_height| used_height <= own)
                || ALLOWED_UPWARD.contains(&(floor.as_str(), used));
            if !allowed {
                wrong.push(format!("{}: {floor} must not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_store_names_diesel_and_only_http_names_actix() {
    for (floor, path, text) in sources() {
        assert!(floor == "store" || !text.contains("diesel::"), "{} names diesel", path.display());
        assert!(floor == "http" || !text.contains("actix_web::"), "{} names actix", path.display());
    }
}

#[test]
fn the_domain_is_pure() {
    for (floor, path, text) in sources() {
        if floor != "domain" {
            continue;
        }
        for impure in ["async fn", ".await", "std::fs", "std::net", "tokio::", "SystemTime", "Instant::now", "use ring"]
        {
            assert!(!text.contains(impure), "{} has {impure}", path.display());
        }
    }
}

#[test]
fn every_party_has_the_same_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/parties");
    for party in ["bureau", "wallet", "sms"] {
        for file in ["mod.rs", "client.rs", "mapping.rs", "status.rs", "MAPPINGS.md"] {
            assert!(root.join(party).join(file).exists(), "parties/{party}/{file} is missing");
        }
    }
}
