//! The diagrams in docs/states.md are the tables' own.

use platform::domain::diagram::mermaid;

#[test]
fn the_documented_diagrams_are_printed_from_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/states.md");
    let document = std::fs::read_to_string(path).expect("docs/states.md");
    for diagram in mermaid() {
        assert!(
            document.contains(&format!("```mermaid\n{diagram}```")),
            "docs/states.md is out of date: replace its diagrams by what `platform states --mermaid` prints\n{diagram}"
        );
    }
}
