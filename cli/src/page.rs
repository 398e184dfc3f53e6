//! What a command says to people: sentences and tables, laid out for the screen that there is.

use std::io::IsTerminal;

use rustix::termios::tcgetwinsize;

/// A column is not cut to less than this.
const CELL_MIN: usize = 6;

/// What there is between columns.
const GAP: &str = "  ";

/// Where a page is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Its columns; none if nothing has to fit, as in a file.
    pub width: Option<usize>,
    /// Whether it shows colours, and somebody likes them.
    pub colors: bool,
}

impl Screen {
    /// That of stdout.
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let columns = tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { width: columns.filter(|columns| *columns > 0), colors: !dumb && !is_set("NO_COLOR") }
    }
}

/// What a command says to people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Lines as they are.
    Text(String),
    /// Lines that somebody should do something about.
    Warning(String),
    /// Columns below the first row, their headings.
    Table(Vec<Vec<String>>),
    /// Names and values, without headings.
    Pairs(Vec<Vec<String>>),
}

impl Page {
    /// A page that is still empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this text below, whose lines are ended.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.0.push(Part::Text(text));
        }
        self
    }

    /// With this line below.
    pub fn line(self, line: impl std::fmt::Display) -> Self {
        self.text(format!("{line}\n"))
    }

    /// With an empty line below.
    pub fn gap(self) -> Self {
        self.text("\n")
    }

    /// With this line below, which somebody should do something about.
    pub fn warning(mut self, line: impl std::fmt::Display) -> Self {
        self.0.push(Part::Warning(format!("{line}\n")));
        self
    }

    /// With this table below; the first row has the headings.
    pub fn table(mut self, rows: Vec<Vec<String>>) -> Self {
        self.0.push(Part::Table(rows));
        self
    }

    /// With these names and values below.
    pub fn pairs(mut self, rows: Vec<Vec<String>>) -> Self {
        if !rows.is_empty() {
            self.0.push(Part::Pairs(rows));
        }
        self
    }

    /// With another page below.
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The text for a screen.
    pub fn render(&self, screen: Screen) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Warning(text) if screen.colors => {
                format!("\x1b[33m{}\x1b[0m\n", text.trim_end_matches('\n'))
            }
            Part::Warning(text) => text.clone(),
            Part::Table(rows) => table(rows, screen),
            Part::Pairs(rows) => columns(rows, &widths(rows)).concat(),
        };
        self.0.iter().map(part).collect()
    }
}

impl From<String> for Page {
    fn from(text: String) -> Self {
        Self::new().text(text)
    }
}

impl From<&str> for Page {
    fn from(text: &str) -> Self {
        Self::new().text(text)
    }
}

/// A row of a table.
pub fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Columns as wide as their widest cell; narrower where a screen needs it, and a paragraph for each row where that would make
/// them unreadable. The first column is never cut: it is what people copy.
fn table(rows: &[Vec<String>], screen: Screen) -> String {
    let natural = widths(rows);
    let fitting = match screen.width {
        None => Some(natural),
        Some(width) => fit(natural, width),
    };
    let Some(widths) = fitting else { return paragraphs(rows, screen) };
    let mut lines = columns(rows, &widths);
    if let Some(heading) = lines.first_mut().filter(|_| screen.colors) {
        *heading = bold(heading);
    }
    lines.concat()
}

fn bold(line: &str) -> String {
    format!("\x1b[1m{}\x1b[0m\n", line.trim_end_matches('\n'))
}

fn len(cell: &str) -> usize {
    cell.chars().count()
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| len(cell)).max();
    (0..columns).map(|column| width(column).unwrap_or(0)).collect()
}

/// These widths, the widest cut until their sum is no more than `width`; none if that cannot be.
fn fit(mut widths: Vec<usize>, width: usize) -> Option<Vec<usize>> {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let rest = widths.iter_mut().skip(1).filter(|width| **width > CELL_MIN);
        *rest.max()? -= 1;
    }
    Some(widths)
}

fn columns(rows: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let width = *width;
            if len(cell) <= width {
                return format!("{cell:width$}");
            }
            let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
            format!("{kept}…")
        });
        format!("{}\n", cells.collect::<Vec<_>>().join(GAP).trim_end())
    };
    rows.iter().map(line).collect()
}

fn paragraphs(rows: &[Vec<String>], screen: Screen) -> String {
    let Some((headings, rows)) = rows.split_first() else { return String::new() };
    let paragraph = |row: &Vec<String>| {
        let first = row.first().map_or_else(String::new, |first| format!("{first}\n"));
        let first = if screen.colors { bold(&first) } else { first };
        let pairs = headings.iter().zip(row).skip(1);
        let pairs: Vec<_> = pairs.map(|(name, cell)| row_of(&[name, cell])).collect();
        first + &columns(&pairs, &widths(&pairs)).concat()
    };
    rows.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

fn row_of(cells: &[&String]) -> Vec<String> {
    let indent = |(at, cell): (usize, &&String)| {
        if at == 0 { format!("  {cell}") } else { (*cell).clone() }
    };
    cells.iter().enumerate().map(indent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_table() -> Page {
        Page::new().table(vec![
            row(&["bucket", "id", "created"]),
            row(&["photos", "8e1a23f0c4d5b697", "2026-11-30T00:00:00Z"]),
            row(&["music", "-", "2026-11-29T00:00:00Z"]),
        ])
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be_where_nothing_has_to_fit() {
        let expected = "\
bucket  id                created
photos  8e1a23f0c4d5b697  2026-11-30T00:00:00Z
music   -                 2026-11-29T00:00:00Z
";
        assert_eq!(a_table().render(Screen::default()), expected);
    }

    #[test]
    fn on_a_narrow_screen_the_widest_columns_are_cut() {
        let screen = Screen { width: Some(34), colors: false };
        let expected = "\
bucket  id            created
photos  8e1a23f0c4d…  2026-11-30T…
music   -             2026-11-29T…
";
        assert_eq!(a_table().render(screen), expected);
    }

    #[test]
    fn on_a_very_narrow_one_each_row_is_a_paragraph() {
        let screen = Screen { width: Some(20), colors: false };
        let expected = "\
photos
  id       8e1a23f0c4d5b697
  created  2026-11-30T00:00:00Z

music
  id       -
  created  2026-11-29T00:00:00Z
";
        assert_eq!(a_table().render(screen), expected);
    }

    #[test]
    fn colours_are_for_headings_and_warnings_where_they_are_liked() {
        let page = Page::new().table(vec![row(&["a"]), row(&["b"])]).warning("look");
        let colored = page.render(Screen { width: None, colors: true });
        assert_eq!(colored, "\x1b[1ma\x1b[0m\nb\n\x1b[33mlook\x1b[0m\n");
        assert_eq!(page.render(Screen::default()), "a\nb\nlook\n");
    }
}
