//! `include/walker.h` and the SDK say the same, to every compiler.

// The SDK's tables are compiled into this test from their source: a program
// of its own cannot link pgrx, whose symbols are the server's. All they take
// from are the names of types.
extern crate self as pgrx;

/// Stands for pgrx's bindings.
pub mod pg_sys {
    /// Only ever behind a pointer.
    pub enum XLogReaderState {}
    /// As well.
    pub enum XLogRecord {}
}

#[allow(dead_code)]
#[path = "../../crates/walker-plugin/src/abi.rs"]
mod abi;

use std::collections::BTreeMap;
use std::fs;
use std::mem::offset_of;
use std::path::PathBuf;
use std::process::Command;
use walker_tests::Server;
use walker_tests::plugins::{compiler, root};
use walker_tests::server::{run, text};

/// Offsets of members, and under an empty name the size.
type Layout = BTreeMap<String, usize>;

macro_rules! layout {
    ($type:ty: $($member:ident)*) => {
        Layout::from([
            (String::new(), size_of::<$type>()),
            $((stringify!($member).to_owned(), offset_of!($type, $member)),)*
        ])
    };
}

fn in_rust() -> BTreeMap<&'static str, Layout> {
    BTreeMap::from([
        (
            "WalkerCallbacks",
            layout!(abi::WalkerCallbacks: startup_cb heap_cb heap2_cb xlog_cb xact_cb smgr_cb
                rmgr_cb shutdown_cb flush_cb start_lsn_cb gap_cb timeline_cb poll_cb rmgr_by_name
                in_place_cb),
        ),
        ("WalkerNamedRmgr", layout!(abi::NamedRmgr: name callback)),
        (
            "WalkerPluginAbi",
            layout!(abi::WalkerPluginAbi: abi_version struct_size),
        ),
        (
            "WalkerRecordBytes",
            layout!(abi::WalkerRecordBytes: lsn end_lsn record),
        ),
        (
            "WalkerRecordId",
            layout!(abi::RecordId: lsn end_lsn crc tli),
        ),
        (
            "WalkerServices",
            layout!(abi::WalkerServices: abi_version struct_size shared_area shared_free
                applied_lsn log wake last_record check_record flush_again),
        ),
    ])
}

/// The structures of the header and their members, in order.
fn in_header() -> Vec<(String, Vec<String>)> {
    let header = fs::read_to_string(root().join("include/walker.h")).expect("walker.h");
    let mut found = Vec::new();
    let mut rest = header.as_str();
    while let Some(at) = rest.find("typedef struct ") {
        rest = &rest[at + "typedef struct ".len()..];
        let (name, body) = rest.split_once('{').expect("a body");
        let (body, after) = body.split_once("\n}").expect("an end");
        found.push((name.trim().to_owned(), members(body)));
        rest = after;
    }
    found
}

fn members(body: &str) -> Vec<String> {
    let mut code = String::new();
    let mut rest = body;
    while let Some((before, comment)) = rest.split_once("/*") {
        code += before;
        rest = comment.split_once("*/").expect("the end of a comment").1;
    }
    code += rest;
    let name = |declaration: &str| {
        // `void (*name) (...)`, `type name[N]`, `type *name`
        let declared = match declaration.split_once("(*") {
            Some((_, pointer)) => pointer.split(')').next()?,
            None => declaration.split('[').next()?.split_whitespace().last()?,
        };
        Some(declared.trim_start_matches('*').to_owned())
    };
    code.split(';').filter_map(name).collect()
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("walker-contract-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    dir.join(name)
}

#[test]
fn header_and_sdk_agree_on_every_offset() {
    let header = in_header();
    let mut program = "#include \"walker.h\"\nint main(void) {\n".to_owned();
    for (name, members) in &header {
        program += &format!("printf(\"{name}  %zu\\n\", sizeof({name}));\n");
        for member in members {
            program +=
                &format!("printf(\"{name} {member} %zu\\n\", offsetof({name}, {member}));\n");
        }
    }
    program += "return 0; }\n";
    let (source, binary) = (scratch("offsets.c"), scratch("offsets"));
    fs::write(&source, program).expect("a file");
    let mut gcc = compiler("gcc", Server::get());
    // pg_config.h may replace printf by the server's own.
    gcc.args(["-std=c99", "-O1"])
        .arg(&source)
        .arg("-o")
        .arg(&binary);
    gcc.arg("-Dpg_printf=printf");
    run(&mut gcc);

    let mut in_c: BTreeMap<String, Layout> = BTreeMap::new();
    for line in text(&run(&mut Command::new(&binary))).lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("three words").to_owned();
        let (name, member, number) = (word(), word(), word());
        let layout = in_c.entry(name).or_default();
        layout.insert(member, number.parse().expect("a number"));
    }
    let in_rust: BTreeMap<String, Layout> = in_rust()
        .into_iter()
        .map(|(name, layout)| (name.to_owned(), layout))
        .collect();
    assert_eq!(in_c, in_rust);

    // The six members of the original contract come first, in its order.
    let (_, callbacks) = header
        .iter()
        .find(|(name, _)| name == "WalkerCallbacks")
        .expect("the table");
    assert_eq!(
        callbacks[..6],
        [
            "startup_cb",
            "heap_cb",
            "heap2_cb",
            "xlog_cb",
            "xact_cb",
            "smgr_cb"
        ]
    );
    let text = fs::read_to_string(root().join("include/walker.h")).expect("walker.h");
    for (name, value) in [
        (
            "WALKER_ABI_VERSION",
            u64::from(abi::ABI_VERSION).to_string(),
        ),
        ("WALKER_RMGR_IDS", "256".to_owned()),
        ("WALKER_RESUME", "(~(XLogRecPtr) 0)".to_owned()),
    ] {
        assert!(
            text.contains(&format!("#define {name} {value}\n")),
            "{name} is not {value}"
        );
    }
    assert_eq!(abi::RESUME, !0);
    let _ = fs::remove_dir_all(scratch(""));
}

#[test]
fn the_header_is_c99_and_cpp17() {
    let source = "#include \"walker.h\"\n#include \"walker.h\"\n\
                  WALKER_PLUGIN_ABI;\n\
                  void _PG_walker_plugin_init(WALkerCallbacks *cb) { cb->startup_cb = NULL; }\n\
                  const void *use(void); const void *use(void) { return walker_services(); }\n";
    let dir = std::env::temp_dir().join(format!("walker-header-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    for (program, standard, file) in [
        ("gcc", "c99", "header.c"),
        ("gcc", "gnu17", "header17.c"),
        ("g++", "c++17", "header.cpp"),
        ("g++", "gnu++20", "header20.cpp"),
    ] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("there is no {program}");
            continue;
        }
        let path = dir.join(file);
        let cpp = program == "g++";
        fs::write(&path, source).expect("a file");
        let mut command = compiler(program, Server::get());
        command.arg(format!("-std={standard}")).arg("-fsyntax-only");
        if cpp {
            // s_lock.h of some versions says `register`.
            command.arg("-Wno-register");
        }
        run(command.arg(&path));
    }
    let _ = fs::remove_dir_all(dir);
}
