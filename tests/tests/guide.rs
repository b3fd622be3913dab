//! docs/writing-a-plugin.md, followed to the letter: its files are written and
//! built, its commands, settings and statements run, in the order of the page.

use std::fs;
use std::path::Path;
use std::process::Command;
use walker_tests::Cluster;
use walker_tests::plugins::root;
use walker_tests::psql::psql_page;
use walker_tests::server::{output, run};

/// A fenced block: its language, the rest of the line, and its text.
struct Block {
    language: String,
    name: String,
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(_), true) => open = false,
            (Some(info), false) => {
                let (language, name) = info.split_once(' ').unwrap_or((info, ""));
                blocks.push(Block {
                    language: language.to_owned(),
                    name: name.to_owned(),
                    line: index + 1,
                    text: String::new(),
                });
                open = true;
            }
            (None, true) => {
                let block = blocks.last_mut().expect("an open block");
                block.text += line;
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

struct Reader {
    cluster: Cluster,
    running: bool,
    printed: String,
}

impl Reader {
    fn do_what_it_says(&mut self, block: &Block) {
        eprintln!("line {}: {} {}", block.line, block.language, block.name);
        match (block.language.as_str(), block.name.as_str()) {
            (_, "ignore") => {}
            ("sh", "") => self.shell(&block.text),
            ("conf", "") => self.configure(&block.text),
            ("sql", "") => {
                if !self.running {
                    self.cluster.start();
                    self.running = true;
                }
                self.printed = psql_page(&self.cluster, "postgres", &block.text);
            }
            // What the last of the statements prints.
            ("", "") => assert!(
                words(&self.printed).ends_with(&words(&block.text)),
                "line {}: psql printed\n{}",
                block.line,
                self.printed
            ),
            ("log", "") => {
                self.cluster.wait_for_log(block.text.trim_end(), 0);
            }
            (_, "") => panic!("line {}: what is to be done with it?", block.line),
            (_, file) => self.write(file, &block.text),
        }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.cluster.path(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        let text = text.replace("/path/to/walker", root().to_str().expect("a path"));
        fs::write(&path, text).expect("a file");
        // The versions that were tested, and none that are newer.
        if file.ends_with("Cargo.toml") {
            let lock = path.with_file_name("Cargo.lock");
            fs::copy(root().join("Cargo.lock"), lock).expect("Cargo.lock");
        }
    }

    fn shell(&self, script: &str) {
        let mut command = Command::new("bash");
        command
            .args(["-euc", script])
            .current_dir(self.cluster.path(""));
        command.env("PG_CONFIG", self.cluster.server.pg_config());
        command.env("CARGO_TARGET_DIR", target());
        // As in the tree, so that what both build is built once.
        command.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        run(&mut command);
    }

    fn configure(&self, conf: &str) {
        self.cluster.append_conf(conf);
        let Some((_, list)) = conf.split_once("walker.plugins = '") else {
            return;
        };
        self.cluster.reload();
        let list = list.split('\'').next().expect("a list");
        let running = "SELECT string_agg(name, ', ') FROM walker_plugins WHERE state = 'running'";
        self.cluster.poll_query_until("postgres", running, list);
    }
}

fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_guide_leads_to_running_plugins() {
    let page = fs::read_to_string(root().join("docs/writing-a-plugin.md")).expect("the guide");
    let blocks = blocks(&page);
    let cluster = Cluster::new("guide");
    cluster.init();
    cluster.append_conf("walker.restart_interval = 1");
    let mut reader = Reader {
        cluster,
        running: false,
        printed: String::new(),
    };
    for block in &blocks {
        reader.do_what_it_says(block);
    }
    // Leave the server as it was.
    let server = reader.cluster.server;
    let mut make = Command::new("make");
    make.arg("-C").arg(reader.cluster.path("rmgr_counter"));
    make.arg(format!("PG_CONFIG={}", server.pg_config().display()));
    run(make.arg("uninstall"));
    let library = Path::new(&server.ask("--pkglibdir")).join("message_log.so");
    let _ = output(Command::new("rm").arg("-f").arg(library));
}

/// The examples in the tree are those of the guide.
#[test]
fn the_examples_are_those_of_the_guide() {
    let page = fs::read_to_string(root().join("docs/writing-a-plugin.md")).expect("the guide");
    let mut compared = 0;
    for block in blocks(&page) {
        // In the tree the package takes its versions from the workspace.
        if block.name.is_empty() || block.name == "ignore" || block.name.ends_with("Cargo.toml") {
            continue;
        }
        let path = root().join("plugins/examples").join(&block.name);
        let file = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(block.text, file, "{}", block.name);
        compared += 1;
    }
    assert_eq!(compared, 6);
    let lines = |file: &str| {
        let text = fs::read_to_string(root().join("plugins/examples").join(file)).expect(file);
        text.lines().count()
    };
    assert!(lines("rmgr_counter/rmgr_counter.c") <= 60);
    assert!(lines("message_log/src/lib.rs") <= 30);
}
