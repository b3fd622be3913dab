//! The SQL of a Markdown page.

/// A fenced block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The line of its first statement, from 1.
    pub line: usize,
    /// What stands between the fences.
    pub text: String,
    /// What the page says it prints last: a block without a language that
    /// follows it directly.
    pub output: Option<String>,
}

/// The blocks fenced as ```` ```sql ````. A block fenced otherwise (shell,
/// `sql ignore`) is not one.
pub fn sql_blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Language, first line and text of the block that is open.
    let mut open: Option<(String, usize, String)> = None;
    let mut after_sql = false;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```").map(str::trim);
        match (fence, open.take()) {
            (None, None) => after_sql &= line.trim().is_empty(),
            (None, Some((language, first, text))) => {
                open = Some((language, first, text + line + "\n"));
            }
            (Some(language), None) => open = Some((language.to_owned(), index + 2, String::new())),
            (Some(_), Some((language, line, text))) => {
                match blocks.last_mut() {
                    Some(sql) if after_sql && language.is_empty() => sql.output = Some(text),
                    _ if language == "sql" => blocks.push(Block {
                        line,
                        text,
                        output: None,
                    }),
                    _ => {}
                }
                after_sql = language == "sql";
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_sql_blocks_and_their_output() {
        let page = "a\n```sh\nls\n```\n```sql\nSELECT 1;\n```\n\n```\n 1\n```\n\
                    ```\nx\n```\n  ```sql\nX\n  ```\ntext\n```\ny\n```\n";
        let found = sql_blocks(page);
        let expected = [(6, "SELECT 1;\n", Some(" 1\n")), (16, "X\n", None)];
        let expected = expected.map(|(line, text, output)| Block {
            line,
            text: text.to_owned(),
            output: output.map(str::to_owned),
        });
        assert_eq!(found, expected);
    }
}
