//! README.md is true: its SQL runs, and prints what the page says it prints.

use walker_tests::Cluster;
use walker_tests::markdown::sql_blocks;
use walker_tests::psql::psql_page;
use walker_tests::walker::{PRELOAD, plain};

#[test]
fn the_sql_of_the_readme_runs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let page = std::fs::read_to_string(path).expect("README.md");
    let blocks = sql_blocks(&page);
    assert!(!blocks.is_empty(), "README.md has no SQL block");
    if plain() {
        return;
    }
    let cluster = Cluster::new("readme");
    cluster.init();
    // No extension is created: the page must say how.
    cluster.append_conf(PRELOAD);
    cluster.start();
    for block in blocks {
        eprintln!("README.md, line {}", block.line);
        let printed = psql_page(&cluster, "postgres", &block.text);
        if let Some(output) = &block.output {
            let trim = |text: &str| {
                text.trim_end()
                    .lines()
                    .map(|line| line.trim_end().to_owned())
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert!(
                trim(&printed).ends_with(&trim(output)),
                "README.md, line {}: the page says\n{output}\nbut psql prints\n{printed}",
                block.line
            );
        }
    }
}
