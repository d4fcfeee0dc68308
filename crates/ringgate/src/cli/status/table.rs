//! A table in plain text: columns as wide as their widest cell, numbers to the right. It never wraps or cuts; that is
//! the terminal's business.

use std::fmt;

/// Spaces between two columns.
const GAP: &str = "  ";

/// A heading and the side that the cells below it keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    to_the_right: bool,
}

impl Column {
    /// A column of words.
    pub(crate) const fn text(heading: &'static str) -> Self {
        Self {
            heading,
            to_the_right: false,
        }
    }

    /// A column of figures.
    pub(crate) const fn number(heading: &'static str) -> Self {
        Self {
            heading,
            to_the_right: true,
        }
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(columns: &[Column; N]) -> Self {
        Self {
            columns: *columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row at the end.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    /// One line per row, the headings first, each ended by a newline and without spaces before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = self.columns.map(|column| column.heading.to_owned());
        let lines: Vec<&[String; N]> = std::iter::once(&headings).chain(&self.rows).collect();
        let widths: [usize; N] = std::array::from_fn(|at| {
            lines
                .iter()
                .map(|line| line[at].chars().count())
                .max()
                .unwrap_or(0)
        });
        for line in lines {
            let cells: Vec<String> = line
                .iter()
                .zip(self.columns)
                .zip(widths)
                .map(|((cell, column), width)| {
                    if column.to_the_right {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:width$}")
                    }
                })
                .collect();
            writeln!(f, "{}", cells.join(GAP).trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_left_and_figures_right() {
        let mut table = Table::new(&[
            Column::text("NAME"),
            Column::number("N"),
            Column::text("WORD"),
        ]);
        table.row(["a".to_owned(), "1000".to_owned(), "up".to_owned()]);
        table.row(["longer".to_owned(), "7".to_owned(), String::new()]);
        assert_eq!(
            table.to_string(),
            "NAME       N  WORD\na       1000  up\nlonger     7\n"
        );
    }
}
