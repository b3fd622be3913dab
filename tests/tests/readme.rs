//! README.md is true: its SQL runs, and prints what the page says it prints; and
//! docs/reference.md leaves nothing out.

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

/// What has a section of its own, and the columns and arguments it explains.
const OBJECTS: &str = "
    WITH member AS (
        SELECT d.classid, d.objid, coalesce(obj_description(d.objid, d.classid::regclass::name), '') AS comment
        FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND e.extname IN ('walker', 'garbagemap')
    )
    SELECT c.relname, coalesce(string_agg(a.attname, ' '), '')
    FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relkind = 'v' GROUP BY c.oid
    UNION ALL
    SELECT p.proname, array_to_string(p.proargnames, ' ')
    FROM member AS m JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    WHERE m.comment NOT LIKE 'implementation of %'
    ORDER BY 1";

/// Names that a text has as code: words between backticks.
fn names(text: &str) -> Vec<&str> {
    let code = text.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .collect()
}

#[test]
fn the_reference_has_every_column() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
    let page = std::fs::read_to_string(path).expect("docs/reference.md");
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("reference", &[], "");
    let listed = cluster.safe_psql("postgres", OBJECTS);
    assert!(listed.lines().count() > 20, "{listed}");
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let mut missing = Vec::new();
    for line in listed.lines() {
        let (object, columns) = line.split_once('|').expect("two columns");
        // Those that are alike share one.
        let found = sections
            .iter()
            .find(|s| names(s.lines().next().unwrap_or("")).contains(&object));
        let Some(section) = found else {
            missing.push(object.to_owned());
            continue;
        };
        let explained = names(section);
        let lacking = columns
            .split_whitespace()
            .filter(|c| !explained.contains(c));
        missing.extend(lacking.map(|column| format!("{object}.{column}")));
    }
    assert!(missing.is_empty(), "docs/reference.md lacks {missing:?}");
}
