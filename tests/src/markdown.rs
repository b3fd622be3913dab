//! The SQL of a Markdown page.

/// A fenced block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The line of its first statement, from 1.
    pub line: usize,
    /// What stands between the fences.
    pub text: String,
}

/// The blocks fenced as ```` ```sql ````. A block fenced otherwise (output,
/// shell, `sql ignore`) is not one.
pub fn sql_blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut other = false;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```").map(str::trim);
        match (fence, &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(_), None) if other => other = false,
            (Some("sql"), None) => {
                open = Some(Block {
                    line: index + 2,
                    text: String::new(),
                })
            }
            (Some(_), None) => other = true,
            (None, Some(block)) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_sql_blocks() {
        let page = "a\n```sh\nls\n```\n```sql\nSELECT 1;\n```\n```\n```\n  ```sql\nX\n  ```\n";
        let found = sql_blocks(page);
        let expected = [(6, "SELECT 1;\n"), (11, "X\n")];
        let expected = expected.map(|(line, text)| Block {
            line,
            text: text.to_owned(),
        });
        assert_eq!(found, expected);
    }
}
