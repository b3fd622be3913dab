//! What must be true of every picture, whatever the ranges.

use garbagemap_picture::*;
use roxmltree::{Document, Node};

const SIZE: Size = Size {
    width: 900,
    height: 500,
};

fn subject(ranges: usize) -> Subject {
    Subject {
        name: "public.\"<A> & 'b' \u{1}\u{e4}\"".to_owned(),
        blocks: ranges as u64 * 32,
        range_blocks: 32,
        lsn: "1/ABCDEF".to_owned(),
        time: "2026-01-01 00:00:00+00".to_owned(),
    }
}

fn range(dead: u32, known: Known) -> Range {
    Range { dead, known }
}

/// Some garbage everywhere, most in the middle, every seventh unknown.
fn mixed(count: usize) -> Vec<Range> {
    let one = |i: usize| match i % 7 {
        3 => range(0, Known::Nothing),
        5 => range(1, Known::Partly),
        _ => range((i.min(count - i) * 500 / count) as u32, Known::Whole),
    };
    (0..count).map(one).collect()
}

type Draw = fn(&Subject, &[Range], Size) -> Result<String, DrawError>;
const ALL: [Draw; 3] = [heatmap, histogram, sorted_histogram];

fn parse(svg: &str) -> Document<'_> {
    assert!(svg.is_ascii());
    Document::parse(svg).unwrap_or_else(|e| panic!("{e}: {svg:.400}"))
}

fn texts(document: &Document<'_>) -> String {
    let texts = document
        .descendants()
        .filter(|n| n.has_tag_name(tag("text")));
    texts
        .filter_map(|n| n.text())
        .map(|t| t.trim().to_owned() + "\n")
        .collect()
}

fn tag(name: &str) -> (&str, &str) {
    ("http://www.w3.org/2000/svg", name)
}

fn number(node: &Node<'_, '_>, name: &str) -> i32 {
    node.attribute(name).expect(name).parse().expect(name)
}

fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

fn shade(node: &Node<'_, '_>) -> Option<usize> {
    let fill = node.attribute("fill")?;
    SHADES.iter().position(|s| hex(*s) == fill)
}

/// The cells of a heat map of so few ranges that each has one: left, top,
/// right, bottom, shade. The swatches of the legend are further down.
fn cells(document: &Document<'_>) -> Vec<(i32, i32, i32, i32, usize)> {
    let rects = document
        .descendants()
        .filter(|n| n.has_tag_name(tag("rect")));
    let cell = |n: Node<'_, '_>| {
        let (x, y) = (number(&n, "x"), number(&n, "y"));
        let cell = (x, y, x + number(&n, "width"), y + number(&n, "height"));
        Some((cell.0, cell.1, cell.2, cell.3, shade(&n)?))
    };
    rects.filter_map(cell).filter(|c| c.1 < 455).collect()
}

/// The middles of all lines of hatches.
fn hatches(document: &Document<'_>) -> Vec<(i32, i32)> {
    let lines = document
        .descendants()
        .filter(|n| n.has_tag_name(tag("polyline")));
    let hatch = |n: &Node<'_, '_>| {
        let stroke = n.attribute("stroke").expect("stroke");
        HATCH.iter().any(|h| hex(*h) == stroke)
    };
    let middle = |n: Node<'_, '_>| {
        let points = n.attribute("points").expect("points");
        let points: Vec<i32> = points
            .split([' ', ','])
            .filter(|p| !p.is_empty())
            .map(|p| p.parse().expect("a number"))
            .collect();
        ((points[0] + points[2]) / 2, (points[1] + points[3]) / 2)
    };
    lines.filter(hatch).map(middle).collect()
}

#[test]
fn shades_can_be_told_apart_in_grey() {
    for pair in SHADES.windows(2) {
        let step = lightness(pair[0]) - lightness(pair[1]);
        assert!(step > 4.0, "{pair:?}");
    }
    for hatch in HATCH {
        let far = |s: &&(u8, u8, u8)| (lightness(**s) - lightness(hatch)).abs() > 60.0;
        assert!(SHADES.iter().filter(far).count() >= 5);
    }
}

#[test]
fn every_picture_is_valid_says_what_it_shows_and_stays_small() {
    for count in [0, 1, 2, 33, 400, 40_000, 4_000_000] {
        let ranges = mixed(count);
        let subject = subject(count);
        for (which, draw) in ALL.into_iter().enumerate() {
            for size in [Size::LIMITS.0, SIZE, Size::LIMITS.1] {
                if count > 40_000 && size != SIZE {
                    continue;
                }
                let svg = draw(&subject, &ranges, size).expect("a picture");
                let what = format!("picture {which} of {count} ranges, {size:?}");
                assert!(svg.len() < 1_000_000, "{what}: {} bytes", svg.len());
                let document = parse(&svg);
                let root = document.root_element();
                assert_eq!(root.attribute("width"), Some(&*size.width.to_string()));
                assert_eq!(root.attribute("height"), Some(&*size.height.to_string()));
                let said = texts(&document);
                assert!(said.contains("public."), "{what}: {said}");
                for fact in ["ranges of 32 blocks", "LSN 1/ABCDEF", "2026-01-01"] {
                    assert!(said.contains(fact), "{what}: {fact} in {said}");
                }
                assert_eq!(said.contains("empty"), count == 0, "{what}: {said}");
                if size.width > 600 {
                    let name = "public.\"<A> & 'b' \u{fffd}\u{e4}\"";
                    assert!(said.contains(name), "{what}: {said}");
                }
                for n in document.descendants().filter(Node::is_element) {
                    for (name, most) in [("x", size.width), ("y", size.height)] {
                        let at = n
                            .attribute(name)
                            .map(|v| v.parse::<i32>().expect("a number"));
                        assert!(
                            at.is_none_or(|at| (0..=most as i32).contains(&at)),
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_worst_mixture_stays_small() {
    let one = |i: usize| range(i as u32 % 2, [Known::Whole, Known::Nothing][i % 2]);
    let ranges: Vec<Range> = (0..4096).map(one).collect();
    let subject = subject(ranges.len());
    for draw in ALL {
        for size in [SIZE, Size::LIMITS.1] {
            let svg = draw(&subject, &ranges, size).expect("a picture");
            assert!(svg.len() < 1_000_000, "{size:?}: {}", svg.len());
            parse(&svg);
        }
    }
}

#[test]
fn cells_are_dark_where_garbage_is_and_hatched_where_nothing_is_known() {
    let mut ranges = vec![range(0, Known::Whole); 64];
    ranges[10] = range(50, Known::Whole);
    ranges[20] = range(100, Known::Whole);
    ranges[30] = range(1, Known::Whole);
    ranges[40] = range(0, Known::Nothing);
    ranges[50] = range(100, Known::Partly);
    let svg = heatmap(&subject(64), &ranges, SIZE).expect("a picture");
    let document = parse(&svg);
    let cells = cells(&document);
    assert_eq!(cells.len(), 64);
    let hatches = hatches(&document);
    let darkest = SHADES.len() - 1;
    for (index, (x0, y0, x1, y1, shade)) in cells.into_iter().enumerate() {
        let expected = match index {
            20 | 50 => darkest..=darkest,
            10 => 2..=darkest - 1,
            30 => 1..=1,
            _ => 0..=0,
        };
        assert!(expected.contains(&shade), "cell {index} has shade {shade}");
        let inside = |at: &&(i32, i32)| (x0..=x1).contains(&at.0) && (y0..=y1).contains(&at.1);
        let lines = hatches.iter().filter(inside).count();
        assert_eq!(
            lines > 0,
            index == 40 || index == 50,
            "cell {index}: {lines}"
        );
    }
}

#[test]
fn what_is_known_only_in_part_is_said_to_be_so() {
    for draw in ALL {
        let exact = [range(7, Known::Whole), range(0, Known::Whole)];
        let svg = draw(&subject(2), &exact, SIZE).expect("a picture");
        let said = texts(&parse(&svg));
        assert!(said.contains("7 dead"), "{said}");
        assert!(!said.contains("at least"), "{said}");
        for known in [Known::Partly, Known::Nothing] {
            let svg = draw(&subject(2), &[exact[0], range(0, known)], SIZE).expect("a picture");
            let document = parse(&svg);
            let said = texts(&document);
            assert!(said.contains("at least 7 dead"), "{said}");
            assert!(said.contains("50 % of them not known"), "{said}");
        }
        let svg = draw(&subject(2), &[range(0, Known::Nothing); 2], SIZE).expect("a picture");
        // Legends are hatched too, but only at the bottom.
        let shown = hatches(&parse(&svg)).into_iter().filter(|(_, y)| *y < 455);
        assert!(shown.count() > 3);
    }
}

#[test]
fn the_sorted_histogram_tells_how_concentrated_garbage_is() {
    let mut ranges = vec![range(1, Known::Whole); 100];
    ranges[70] = range(1000, Known::Whole);
    let svg = sorted_histogram(&subject(100), &ranges, SIZE).expect("a picture");
    let said = texts(&parse(&svg));
    assert!(said.contains("half of it in 1.0 % of the ranges"), "{said}");
    let even = vec![range(9, Known::Whole); 100];
    let svg = sorted_histogram(&subject(100), &even, SIZE).expect("a picture");
    let said = texts(&parse(&svg));
    assert!(said.contains("half of it in 50 % of the ranges"), "{said}");
}

#[test]
fn a_bar_is_one_line() {
    let clean = range(0, Known::Whole);
    assert_eq!(bar(&[], 60, Glyphs::Blocks), "");
    assert_eq!(bar(&[clean; 3], 60, Glyphs::Blocks), "\u{b7}\u{b7}\u{b7}");
    let ranges = [
        clean,
        range(1, Known::Whole),
        range(800, Known::Whole),
        range(400, Known::Whole),
        range(0, Known::Nothing),
    ];
    assert_eq!(
        bar(&ranges, 5, Glyphs::Blocks),
        "\u{b7}\u{2581}\u{2588}\u{2584}?"
    );
    assert_eq!(bar(&ranges, 5, Glyphs::Digits), ".184?");
    // Unknown is never shown as clean, but where most is known.
    let mut half = [clean; 8];
    half[0] = range(0, Known::Nothing);
    assert_eq!(bar(&half, 1, Glyphs::Blocks), "\u{b7}");
    half[1..5].fill(range(0, Known::Nothing));
    assert_eq!(bar(&half, 1, Glyphs::Blocks), "?");
    for (count, width) in [(40_000, 60), (61, 60), (1, 1), (4_000_000, 200)] {
        let line = bar(&mixed(count), width, Glyphs::Blocks);
        let chars = line.chars().count();
        assert!((1..=width).contains(&chars), "{chars} of {width}");
    }
}

#[test]
fn the_page_holds_all_tables_and_nothing_breaks_out() {
    let evil = "</style><script>alert(1)</script>\"'&\u{2}";
    let table = |n: usize| ReportTable {
        name: format!("{evil}{n}"),
        blocks: n as u64 * 32,
        tuples: Some(1),
        dead: Some(100 - n as u64),
        items: None,
        inexact_blocks: n as u64 % 2,
        ranges: mixed(n * 100),
    };
    let page = report(&Report {
        database: evil.to_owned(),
        server: evil.to_owned(),
        time: evil.to_owned(),
        lsn: evil.to_owned(),
        range_blocks: 32,
        tables: (1..=20).map(table).collect(),
        unknown_tables: vec![(evil.to_owned(), 1000)],
        clean_tables: 3,
        holders: vec![Holder {
            table: evil.to_owned(),
            kept: 12_345,
            removable: 1,
            holder: Some(evil.to_owned()),
            age: None,
        }],
        advice: vec![Advice {
            table: evil.to_owned(),
            what: evil.to_owned(),
            why: evil.to_owned(),
            command: Some(evil.to_owned()),
        }],
        health: Health {
            hidden: None,
            state: evil.to_owned(),
            well: false,
            facts: vec![(evil.to_owned(), evil.to_owned())],
            plugins: vec![Plugin {
                name: evil.to_owned(),
                state: evil.to_owned(),
                applied: evil.to_owned(),
                errors: evil.to_owned(),
                last_error: evil.to_owned(),
            }],
        },
    })
    .expect("a page");
    assert!(page.is_ascii());
    assert!(page.len() < 1_500_000, "{}", page.len());
    assert!(!page.contains("<script"));
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(!page.contains("http://") || !page.contains("src="));
    assert_eq!(page.matches("<figure>").count(), 20);
    assert!(page.contains("12,345"));
    assert!(page.find("&quot;&#39;&amp;&#65533;1<") < page.find("&quot;&#39;&amp;&#65533;2<"));
    // It is well-formed but for what only HTML leaves open.
    let body = page.split_once("<body>").expect("a body").1;
    let body = body.split_once("</body>").expect("its end").0;
    let body = body.replace("&middot;", "").replace("&ge;", "");
    let document = format!("<body>{body}</body>");
    let document = Document::parse(&document).unwrap_or_else(|e| panic!("{e}"));
    let rows = document.descendants().filter(|n| n.has_tag_name("tr"));
    assert_eq!(rows.count(), 1 + 1 + 1 + 1 + 1 + 1 + 1 + 20);

    let empty = report(&Report::default()).expect("a page");
    assert!(empty.contains("Nothing: a vacuum may remove"));
}
