//! The floors of ARCHITECTURE.md, read from every path in the sources, imported alone or in a group, by `crate::` or by
//! `super::`: a floor uses those before it in the list, never those behind it; only `store` names diesel, only `http` names actix, and `domain` is pure.

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

/// The source without comments and without what stands in strings.
fn code(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let skipped = if from.starts_with("//") {
            from.find('\n').unwrap_or(from.len())
        } else if from.starts_with("/*") {
            from.find("*/").map_or(from.len(), |end| end + 2)
        } else if from.starts_with('"') {
            string_end(from, raw_hashes(&kept))
        } else if let Some(quoted) = ["'\"'", "'\\''", "'/'"].into_iter().find(|quoted| from.starts_with(quoted)) {
            quoted.len()
        } else {
            kept.push_str(&from[..1]);
            1
        };
        rest = &from[skipped..];
    }
    kept.push_str(rest);
    kept
}

/// How many `#` a raw string has before its quote; none for an ordinary one.
fn raw_hashes(before: &str) -> Option<usize> {
    let bare = before.trim_end_matches('#');
    bare.ends_with('r').then_some(before.len() - bare.len())
}

fn string_end(from: &str, raw_hashes: Option<usize>) -> usize {
    if let Some(hashes) = raw_hashes {
        let end = format!("\"{}", "#".repeat(hashes));
        return from[1..].find(&end).map_or(from.len(), |at| 1 + at + end.len());
    }
    let mut escaped = false;
    for (at, c) in from.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    from.len()
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// What a path names after `crate::`: one name, or those at the top of a group.
fn heads(after: &str) -> Vec<&str> {
    let Some(group) = after.trim_start().strip_prefix('{') else { return vec![word(after.trim_start())] };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(word(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// How many modules a file lies below the crate: `clock.rs` one, `store/mod.rs` one, `store/orders.rs` two.
fn depth(path: &Path) -> usize {
    path.components().count() - usize::from(path.ends_with("mod.rs"))
}

/// The first names behind every `crate::`, and behind every chain of `super::` that is long enough to reach the crate
/// from a file so deep. (In a module inside the file such a chain is one shorter than it looks: that is refused too,
/// which costs nothing.)
fn named_floors(text: &str, depth: usize) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    let chains = text.match_indices("super::").filter(|(at, _)| !text[..*at].ends_with("super::"));
    for (at, _) in chains {
        let after = text[at..].trim_start_matches("super::");
        let supers = (text.len() - at - after.len()) / "super::".len();
        if supers >= depth {
            named.extend(heads(after));
        }
    }
    let roots = text.match_indices("crate::").filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric()));
    for (at, root) in roots {
        named.extend(heads(&text[at + root.len()..]));
    }
    named
}

/// Ways to the crate's root that a reader of paths cannot follow.
const BLIND: [&str; 4] = ["crate as ", "crate::*", "crate::{*", "crate::{self"];

#[test]
fn a_floor_uses_only_the_floors_above_it_in_the_list() {
    let height = |floor: &str| FLOORS.iter().position(|known| *known == floor);
    let mut wrong = Vec::new();
    for (floor, path, text) in sources() {
        if floor == "lib" || floor == "main" {
            continue;
        }
        let own = height(&floor).unwrap_or_else(|| panic!("{floor} stands on no floor: add it to the plan"));
        let text = code(&text);
        wrong.extend(BLIND.iter().filter(|way| text.contains(**way)).map(|way| format!("{}: {way}", path.display())));
        for used in named_floors(&text, depth(&path)) {
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
fn no_way_of_writing_a_path_hides_a_floor() {
    let store = Path::new("store/orders.rs");
    for (text, named) in [
        ("use crate::http::routes;", vec!["http"]),
        ("use crate::{clock::Clock, http::{self, routes}, journey};", vec!["clock", "http", "journey"]),
        ("use crate::{\n    clock,\n    errands::due,\n};", vec!["clock", "errands"]),
        ("fn f() -> crate::journey::Ground {}", vec!["journey"]),
        ("use super::super::http;", vec!["http"]),
        ("use super::super::{http, errands::due};", vec!["errands", "http"]),
        ("use super::orders;", vec![]),
        (
            "// crate::http\nlet a = \"crate::http\"; let b = r#\"crate::http \"#; let c = '\"'; crate::clock::x",
            vec!["clock"],
        ),
        ("let a = \"\\\"crate::http\"; /* crate::http */ use crate::domain;", vec!["domain"]),
    ] {
        assert_eq!(named_floors(&code(text), depth(store)), named.into_iter().collect(), "{text}");
    }
    let top = depth(Path::new("store/mod.rs"));
    assert_eq!(named_floors("use super::http;", top), BTreeSet::from(["http"]));
    assert_eq!((top, depth(Path::new("clock.rs")), depth(Path::new("parties/bureau/mod.rs"))), (1, 1, 2));
}

#[test]
fn only_the_store_names_diesel_and_only_http_names_actix() {
    for (floor, path, text) in sources() {
        let text = code(&text);
        let names = |krate: &str| text.match_indices(krate).any(|(at, _)| word(&text[at..]).starts_with(krate));
        assert!(floor == "store" || !names("diesel"), "{} names diesel", path.display());
        assert!(floor == "http" || !names("actix"), "{} names actix", path.display());
    }
}

#[test]
fn the_domain_is_pure() {
    for (floor, path, text) in sources() {
        if floor != "domain" {
            continue;
        }
        let text = code(&text);
        for impure in ["async fn", ".await", "std::fs", "std::net", "tokio::", "SystemTime", "Instant::now", "use ring"]
        {
            assert!(!text.contains(impure), "{} has {impure}", path.display());
        }
    }
}

#[test]
fn yuan_are_written_by_the_mappings_and_in_messages_to_people_only() {
    let people = ["journey/code.rs", "journey/people/news.rs"];
    for (floor, path, text) in sources() {
        let writes = code(&text).contains("to_yuan(");
        let may = floor == "parties" || people.iter().any(|people| path.ends_with(people));
        assert!(!writes || may, "{} turns fen into yuan", path.display());
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

/// Counterparties are written from the wire alone, or they would prove nothing; an adapter is delivered without the
/// platform. Only loadtest may look inside.
#[test]
fn no_counterparty_and_no_adapter_depends_on_the_platform() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = |path: &Path| fs::read_to_string(path.join("Cargo.toml")).expect("a Cargo.toml");
    let root = manifest(&workspace);
    let members = root.lines().find_map(|line| line.strip_prefix("members = [")).expect("members on one line");
    let members: Vec<&str> =
        members.trim_end_matches(']').split(',').map(|name| name.trim().trim_matches('"')).collect();
    for member in ["schema", "platform", "adapter-core", "hospital-adapter", "sandbox", "loadtest"] {
        assert!(members.contains(&member), "{member} is no member: {members:?}");
    }
    let mut upon: Vec<(&str, &str)> = Vec::new();
    for member in &members {
        let text = manifest(&workspace.join(member));
        for other in &members {
            if text.lines().any(|line| names_crate(line, other)) {
                upon.push((member, other));
            }
        }
    }
    let by =
        |krate: &str| upon.iter().filter(|(_, other)| *other == krate).map(|(member, _)| *member).collect::<Vec<_>>();
    assert!(by("platform").iter().all(|member| *member == "loadtest"), "{upon:?}");
    assert!(by("sandbox").contains(&"platform") && by("schema").len() == 5, "what there is is seen: {upon:?}");
    assert_eq!(by("hospital-adapter"), Vec::<&str>::new(), "{upon:?}");
    assert_eq!(by("adapter-core"), ["hospital-adapter"], "{upon:?}");
    let of_schema = upon.iter().filter(|(member, _)| *member == "schema").count();
    assert_eq!(of_schema, 0, "the ground stands on nothing: {upon:?}");
    // The platform tries itself against the counterparties, and is delivered without them.
    let (own, _) = manifest(&workspace.join("platform"))
        .split_once("[dev-dependencies]")
        .map(|(own, dev)| (own.to_owned(), dev.to_owned()))
        .expect("dev-dependencies");
    assert!(!own.lines().any(|line| names_crate(line, "sandbox")));
    assert!(
        names_crate("platform = { path = \"../platform\" }", "platform")
            && names_crate("x = { package = \"platform\" }", "platform")
    );
    assert!(names_crate("[dependencies.platform]", "platform") && !names_crate("platform-x = \"1\"", "platform"));
}

/// Whether a line of a Cargo.toml makes a crate a dependency, under its own name or another.
fn names_crate(line: &str, krate: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    let own = line.split(['=', '.', ' ']).next() == Some(krate) && line.len() > krate.len();
    let table = line.starts_with('[') && line.ends_with(&format!("dependencies.{krate}]"));
    let renamed = line.contains(&format!("package = \"{krate}\"")) || line.contains(&format!("../{krate}\""));
    own || table || renamed
}
