//! Pictures are of the live map, and a browser shows them.

use garbagemap_picture::{Known, Range, Size, Subject, heatmap, histogram, sorted_histogram};
use roxmltree::Document;
use std::fs;
use walker_tests::browser::Browser;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Session};

/// A table with garbage in its second quarter, an empty one, one with a name
/// that would like to be something else, and twenty more.
const SETUP: &str = "
CREATE TABLE t (id int, v text) WITH (autovacuum_enabled = off);
ALTER TABLE t ALTER v SET STORAGE PLAIN;
INSERT INTO t SELECT g, repeat('x', 350) FROM generate_series(1, 8400) AS g;
DELETE FROM t WHERE id BETWEEN 2100 AND 4200 AND id % 21 < (id / 21) % 23;
CREATE TABLE empty (id int);
CREATE TABLE \"</script><b> & \"\"'\u{e4}\" AS SELECT 1 AS a;
DO $$
BEGIN
    FOR n IN 1..20 LOOP
        EXECUTE format('CREATE TABLE ranked_%s AS SELECT * FROM generate_series(1, %s * 400) AS a', n, n);
        EXECUTE format('ALTER TABLE ranked_%s SET (autovacuum_enabled = off)', n);
        EXECUTE format('DELETE FROM ranked_%s WHERE a %% 400 < 10', n);
    END LOOP;
END $$;";

const SVG: [&str; 3] = [
    "garbage_heatmap",
    "garbage_histogram",
    "garbage_sorted_histogram",
];

fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &[], "garbagemap.range_blocks = 1");
    cluster.safe_psql("postgres", SETUP);
    cluster.walker_wait();
    cluster
}

fn texts(svg: &str) -> String {
    let document = Document::parse(svg).unwrap_or_else(|e| panic!("{e}: {svg:.300}"));
    let texts = document
        .descendants()
        .filter(|n| n.tag_name().name() == "text");
    texts
        .filter_map(|n| n.text())
        .map(|t| t.trim().to_owned() + "\n")
        .collect()
}

#[test]
fn they_show_what_the_map_says() {
    if plain() {
        return;
    }
    let cluster = cluster("drawn");
    let ask = |sql: &str| cluster.safe_psql("postgres", sql);
    let dead =
        ask("SELECT to_char(sum(n_dead_tuples), 'FM999,999') || ' dead' FROM garbage_map('t')");
    assert_ne!(dead, "0 dead");
    for function in SVG {
        let said = texts(&ask(&format!("SELECT {function}('t')")));
        for fact in ["public.t:", &dead, "ranges of 1 block", "LSN 0/", "+00"] {
            assert!(said.contains(fact), "{function} lacks \"{fact}\": {said}");
        }
        let other = texts(&ask(&format!("SELECT {function}('empty')")));
        assert!(other.contains("empty."), "{other}");
        let said = texts(&ask(&format!(
            "SELECT {function}('\"</script><b> & \"\"''\u{e4}\"')"
        )));
        assert!(said.contains("</script><b> & \"\"'\u{e4}"), "{said}");
    }
    // Garbage is in the second quarter; nothing else has any.
    let bar = ask("SELECT garbage_bar('t', 40)");
    let quarter = |n: usize| bar.chars().skip(n * 10).take(9).collect::<String>();
    assert_eq!(quarter(0), "\u{b7}".repeat(9), "{bar}");
    assert!(quarter(1).contains('\u{2588}'), "{bar}");
    assert_eq!(quarter(3), "\u{b7}".repeat(9), "{bar}");
    assert_eq!(ask("SELECT char_length(garbage_bar('t', 7))"), "7");
    assert_eq!(ask("SELECT garbage_bar('empty')"), "");
    // What is older than the walker is unknown, until it is scanned.
    ask("CREATE DATABASE old TEMPLATE template0");
    assert!(ask("SELECT garbage_bar('pg_collation')").contains('?'));
    let unknown = ask("SELECT garbage_heatmap('pg_collation')");
    assert!(texts(&unknown).contains("not known (hatched)"));
    ask("SELECT garbage_base_scan('pg_collation')");
    assert!(!ask("SELECT garbage_bar('pg_collation')").contains('?'));
    assert!(!texts(&ask("SELECT garbage_heatmap('pg_collation')")).contains("hatched"));
    // They queue behind nobody.
    let mut locker = Session::open(&cluster, "postgres");
    locker.safe("BEGIN; LOCK TABLE t");
    assert!(texts(&ask("SELECT garbage_heatmap('t')")).contains(&dead));
    locker.safe("ROLLBACK");
    // And follow the table.
    ask("VACUUM t");
    cluster.walker_wait();
    assert!(texts(&ask("SELECT garbage_heatmap('t')")).contains("\n0 dead"));
}

#[test]
fn the_report_tells_what_and_why() {
    if plain() {
        return;
    }
    let cluster = cluster("report");
    let mut holder = Session::open(&cluster, "postgres");
    holder.safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    cluster.safe_psql("postgres", "DELETE FROM ranked_20 WHERE a % 400 < 50");
    cluster.walker_wait();
    let page = cluster.safe_psql("postgres", "SELECT garbage_report()");
    assert!(page.starts_with("<!DOCTYPE html>") && page.is_ascii());
    let rank = |table: &str| {
        page.find(&format!(">{table}<"))
            .unwrap_or_else(|| panic!("{table} is not in the page"))
    };
    assert!(rank("public.ranked_20") < rank("public.ranked_19"));
    assert!(rank("public.ranked_19") < rank("public.ranked_1"));
    assert!(!page.contains("public.empty"));
    assert!(page.contains(&format!("backend {}", holder.pid)));
    let candidates = "SELECT count(*) FILTER (WHERE recommendation = 'vacuum') FROM
        (SELECT * FROM garbage_candidates WHERE recommendation <> 'nothing' LIMIT 10) AS first";
    let said = |page: &str| page.matches("<b>vacuum</b>").count().to_string();
    assert_eq!(said(&page), cluster.safe_psql("postgres", candidates));
    assert!(page.contains("<code>VACUUM public.t</code>"));
    assert!(page.contains("class=\"well\"") && page.contains(">garbagemap<"));
    let drawn = page.matches("<figure>").count();
    assert!((21..=24).contains(&drawn), "{drawn} small pictures");
    holder.safe("ROLLBACK");
    let page = cluster.safe_psql("postgres", "SELECT garbage_report()");
    assert!(page.contains("Nothing: a vacuum may remove"));

    // Who may not see the worker gets the page without it.
    cluster.safe_psql(
        "postgres",
        "CREATE ROLE stats LOGIN IN ROLE pg_read_all_stats",
    );
    let rows = cluster.psql_as("stats", "postgres", "SELECT garbage_report()");
    let page = rows.expect("the page").concat().concat_some();
    assert!(page.contains("privileges of pg_monitor") && page.contains("public.ranked_20"));
    assert!(!page.contains("class=\"well\""));

    // A database that is not in UTF-8.
    cluster.safe_psql(
        "postgres",
        "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1",
    );
    cluster.create_extensions("latin");
    // The report is in a schema that is not in ASCII.
    let schema = "na\u{ef}ve one";
    cluster.safe_psql(
        "latin",
        &format!(
            "DROP EXTENSION garbagemap; CREATE SCHEMA \"{schema}\";
             CREATE EXTENSION garbagemap SCHEMA \"{schema}\";
             ALTER DATABASE latin SET search_path = \"{schema}\", public"
        ),
    );
    cluster.safe_psql(
        "latin",
        "CREATE TABLE public.\"caf\u{e9}\" AS SELECT 1 AS a; DELETE FROM public.\"caf\u{e9}\"",
    );
    cluster.walker_wait();
    let page = cluster.safe_psql("latin", "SELECT garbage_report()");
    assert!(
        page.contains(">public.\"caf&#233;\"<") || page.contains("public.&quot;caf&#233;&quot;")
    );
    let svg = cluster.safe_psql("latin", "SELECT garbage_heatmap('\"caf\u{e9}\"')");
    assert!(texts(&svg).contains("caf\u{e9}"));
    assert_eq!(
        cluster.safe_psql("latin", "SELECT garbage_bar('\"caf\u{e9}\"')"),
        "8"
    );
}

trait ConcatSome {
    fn concat_some(self) -> String;
}

impl ConcatSome for Vec<Option<String>> {
    fn concat_some(self) -> String {
        self.into_iter().flatten().collect()
    }
}

/// More ranges than a test may write to disk.
fn large() -> (Subject, Vec<Range>) {
    let one = |i: u32| Range {
        dead: if i / 3000 % 3 == 1 { i % 700 } else { i % 3 },
        known: match i {
            20_000..22_500 => Known::Nothing,
            _ => Known::Whole,
        },
    };
    let ranges: Vec<Range> = (0..40_000).map(one).collect();
    let subject = Subject {
        name: "public.large".to_owned(),
        blocks: 32 * ranges.len() as u64,
        range_blocks: 32,
        lsn: "1/0".to_owned(),
        time: "2026-01-01 00:00:00 UTC".to_owned(),
    };
    (subject, ranges)
}

const SIZE: Size = Size {
    width: 900,
    height: 500,
};

#[test]
fn a_browser_shows_them() {
    if plain() {
        return;
    }
    let cluster = cluster("browser");
    let Some(browser) = Browser::find(cluster.host()) else {
        return;
    };
    let write = |name: &str, text: &str| {
        let path = cluster.path(name);
        fs::write(&path, text).expect("a file");
        path
    };
    // That complaints are heard at all.
    let broken = write("broken.html", "<p>x<script>no_such_function()</script>");
    let page = browser.open(&broken, "broken", (300, 200));
    assert!(
        page.console.iter().any(|l| l.contains("no_such_function")),
        "{page:?}"
    );
    let blank = page.png.len();

    let mut pictures = Vec::new();
    for function in SVG {
        for table in ["t", "empty", "pg_collation"] {
            let svg = cluster.safe_psql("postgres", &format!("SELECT {function}('{table}')"));
            pictures.push((format!("{function}-{table}"), svg));
        }
    }
    let (subject, ranges) = large();
    let drawn = [heatmap, histogram, sorted_histogram].map(|draw| draw(&subject, &ranges, SIZE));
    for (function, svg) in SVG.into_iter().zip(drawn) {
        pictures.push((format!("{function}-40000"), svg.expect("a picture")));
    }
    // All on one page, which says of each whether it could be read.
    let mut gallery = "<!DOCTYPE html><meta charset=utf-8>".to_owned();
    for (name, svg) in &pictures {
        write(&format!("{name}.svg"), svg);
        gallery += &format!("<img id='{name}' src='{name}.svg'>");
    }
    gallery += "<script>onload = () => { for (const i of document.images) \
                i.alt = i.complete ? 'shown ' + i.naturalWidth + 'x' + i.naturalHeight : 'not shown' }\
                </script>";
    let gallery = write("gallery.html", &gallery);
    let page = browser.open(&gallery, "gallery", (1840, 3080));
    assert_eq!(page.console, [""; 0]);
    let shown = page.dom.matches("alt=\"shown 900x500\"").count();
    assert_eq!(shown, pictures.len(), "{}", page.dom);
    assert!(page.png.len() > 10 * blank, "{} bytes", page.png.len());

    let report = cluster.safe_psql("postgres", "SELECT garbage_report()");
    let report = write("report.html", &report);
    let page = browser.open(&report, "report", (1100, 3400));
    assert_eq!(page.console, [""; 0]);
    assert!(page.dom.contains("public.ranked_20") && page.dom.contains("</html>"));
    assert!(page.png.len() > 10 * blank, "{} bytes", page.png.len());
}
