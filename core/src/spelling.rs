//! What was probably meant by a word that is not known.

/// The known word that is nearest to this one; the first of equals. None if there are none.
pub fn nearest<'a>(known: impl IntoIterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    known.into_iter().min_by_key(|known| distance(known, word))
}

/// As [`nearest`], if it is so near that it is worth a question: no more than a third of its letters differ.
pub fn probable<'a>(known: impl IntoIterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    nearest(known, word).filter(|known| distance(known, word) <= known.len().max(3) / 3)
}

/// How many letters must be put in, taken out or changed to get from one to the other (Levenshtein, 1966).
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let change = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (one, other, letters) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
            assert_eq!(distance(other, one), letters, "{other} {one}");
        }
    }

    #[test]
    fn only_what_is_near_is_worth_a_question() {
        let known = ["list", "info", "create", "delete"];
        for (word, meant) in
            [("lst", Some("list")), ("craete", Some("create")), ("x", None), ("frobnicate", None)]
        {
            assert_eq!(probable(known, word), meant, "{word}");
        }
        assert_eq!(nearest(known, "frobnicate"), Some("create"));
        assert_eq!(nearest([], "list"), None);
    }
}
