//! Text as sequences of characters: row i is characters `i·steps..(i + 1)·steps`, and the label of each is the character after it. A
//! model that predicts at fewer steps than it reads has the labels of the last ones: a decoder's.
//! The last tenth of the rows, the end of the text, is there to test on.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Dataset, Rows, SHAKESPEARE, gunzip, read};
use crate::error::{Error, Result};
use crate::graph::Model;

/// The bundled beginning of a larger text.
const SAMPLE: &str = "shakespeare-sample";
/// Generated text: a line feed, letters, a bar, and the same letters in reverse.
const REVERSAL: &str = "reversal";
/// Its lines, each of which is a row.
const LINES: usize = 2000;
/// Letters of its lines, from a on.
const LETTERS: u32 = 8;
/// Rows of which one is there to test on.
const TEST_SHARE: usize = 10;

/// Whether a data set of this name is text.
pub(super) fn is_text(name: &str) -> bool {
    name == SAMPLE || name == REVERSAL || name.ends_with(".txt") || name.ends_with(".txt.gz")
}

/// The text of this name for `model`, whose alphabet numbers its characters.
pub(super) fn open(name: &str, model: &Model) -> Result<Dataset> {
    let path = Path::new(name);
    let wrong = |reason: String| Error::Malformed { path: path.into(), format: "text", reason };
    let bytes = match name {
        SAMPLE => gunzip(SHAKESPEARE).expect("bundled data"),
        REVERSAL => reversal(model.graph.input_features())
            .ok_or_else(|| Error::value("--data", name, "its lines take an even number of steps, from 4 on"))?,
        _ => read(path)?,
    };
    let text = String::from_utf8(bytes).map_err(|e| wrong(format!("it is not UTF-8: {}", e.utf8_error())))?;
    let Some(alphabet) = &model.alphabet else {
        let mut found: Vec<char> = text.chars().collect();
        found.sort_unstable();
        found.dedup();
        let why = match found.len() {
            0..=256 => {
                // (escapes of Rust and TOML agree on what texts hold)
                let own: String = found.into_iter().collect();
                let model = &model.name;
                format!(
                    "text needs a model file that numbers its characters; add to that of `{model}` alphabet = {own:?}, above [train]"
                )
            }
            n => format!("it has {n} different characters, and a model can have 256 at most"),
        };
        return Err(Error::value("--data", name, why));
    };
    let (steps, labels) = (model.graph.input_features(), model.graph.labels_per_row());
    if labels > steps {
        let why = format!(
            "`{}` reads {steps} characters and predicts {labels}; it must not predict more than it reads",
            model.name
        );
        return Err(Error::value("--data", name, why));
    }
    let tokens = tokens(&text, alphabet).map_err(wrong)?;
    let rows = tokens.len().saturating_sub(1) / steps;
    if rows < 2 * TEST_SHARE {
        let least = 2 * TEST_SHARE * steps + 1;
        return Err(wrong(format!(
            "it holds {} characters; {least} are the least for {steps} steps a row",
            tokens.len()
        )));
    }
    let part = |from: usize, to: usize| Rows {
        features: tokens[from * steps..to * steps].to_vec(),
        labels: (from + 1..=to).flat_map(|end| &tokens[end * steps + 1 - labels..=end * steps]).copied().collect(),
        labels_per_row: labels,
    };
    let train = rows - rows / TEST_SHARE;
    let short = path.file_name().map_or_else(|| name.into(), |n| n.to_string_lossy().into_owned());
    let classes = alphabet.chars().count();
    Ok(Dataset { name: short, width: steps, classes, scale: 0, train: part(0, train), test: part(train, rows) })
}

/// Lines of `steps` characters such as `badge|egdab`, each behind its line feed: string rewriting, the same text on every machine. What
/// comes before the bar is random, what comes after it follows from that. `None` where a line of so many characters has no middle.
fn reversal(steps: usize) -> Option<Vec<u8>> {
    if steps < 4 || steps % 2 != 0 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut text = Vec::with_capacity(LINES * steps + 1);
    for _ in 0..LINES {
        let word: Vec<u8> = (0..steps / 2 - 1).map(|_| b'a' + (random.next_u32() % LETTERS) as u8).collect();
        text.push(b'\n');
        text.extend(&word);
        text.push(b'|');
        text.extend(word.iter().rev());
    }
    // the last row's last label
    text.push(b'\n');
    Some(text)
}

/// The number of every character in the alphabet.
fn tokens(text: &str, alphabet: &str) -> std::result::Result<Vec<u8>, String> {
    let known: std::collections::HashMap<char, u8> = alphabet.chars().zip(0..=255).collect();
    let mut tokens = Vec::with_capacity(text.len());
    let (mut line, mut column) = (1, 1);
    for c in text.chars() {
        match known.get(&c) {
            Some(&token) => tokens.push(token),
            None => return Err(format!("line {line}, column {column}: {c:?} is not in the model's `alphabet`")),
        }
        (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::parse_file;

    fn model(alphabet: &str) -> Model {
        let text = format!(
            "name = \"t\"\ninput = [4]\n{alphabet}loss = \"softmax_cross_entropy\"\n[[layer]]\nop = \"embedding\"\n\
             vocabulary = 3\nfeatures = 2\n[[layer]]\nop = \"dense\"\nfeatures = 3\n"
        );
        parse_file(&text).unwrap().0
    }

    #[test]
    fn a_generated_line_is_a_row_and_reads_the_same_backwards() {
        let text = reversal(12).unwrap();
        let lines: Vec<&[u8]> = text.chunks_exact(12).collect();
        assert_eq!(lines.len(), LINES);
        for line in &lines {
            assert!((1..6).all(|i| line[i] == line[12 - i] && (b'a'..b'i').contains(&line[i])), "{line:?}");
            assert_eq!((line[0], line[6]), (b'\n', b'|'));
        }
        // 2,000 of 8⁵ words: a few come twice
        let mut words = lines.clone();
        words.sort();
        words.dedup();
        assert!((1900..2000).contains(&words.len()), "{}", words.len());
        assert!(reversal(7).is_none() && reversal(2).is_none());
    }

    #[test]
    fn a_decoder_has_the_labels_of_the_last_steps() {
        let text = "name = \"t\"\ninput = [12]\nalphabet = \"abcdefgh|\\n\"\nloss = \"softmax_cross_entropy\"\n[[layer]]\n\
                    op = \"embedding\"\nvocabulary = 10\nfeatures = 2\n[[layer]]\nop = \"slice\"\nstart = 6\n[[layer]]\n\
                    op = \"dense\"\nfeatures = 10\n";
        let model = parse_file(text).unwrap().0;
        let d = Dataset::of("reversal", &model).unwrap();
        assert_eq!((d.width, d.train.len(), d.train.labels_per_row), (12, 1800, 6));
        for i in 0..d.train.len() {
            // behind the bar come the letters in reverse, behind those the line's end
            let (row, labels) = (d.train.row(i, 12), d.train.labels_of(i));
            assert!(row[6] == 8 && labels[..5] == row[7..] && labels[5] == 9, "{row:?} {labels:?}");
        }
        let longer =
            text.replace("start = 6", "start = 11\n[[layer]]\nop = \"last\"\n[[layer]]\nop = \"repeat\"\nsteps = 13");
        let e = Dataset::of("reversal", &parse_file(&longer).unwrap().0).unwrap_err().to_string();
        assert!(e.contains("reads 12 characters and predicts 13"), "{e}");
    }

    #[test]
    fn the_label_of_a_character_is_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.txt");
        let name = path.to_str().unwrap();
        let text = "abc\n".repeat(30).replace('\n', "a");
        std::fs::write(&path, &text).unwrap();
        let d = Dataset::of(name, &model("alphabet = \"abc\"\n")).unwrap();
        // 120 characters: 29 rows of 4 and one to come after the last
        assert_eq!((d.train.len(), d.test.len(), d.width, d.classes, d.scale), (27, 2, 4, 3, 0));
        assert_eq!((d.train.row(1, 4), d.train.labels_of(1)), (&[0, 1, 2, 0][..], &[1, 2, 0, 0][..]));
        assert_eq!(d.name, "t.txt");
        let fails = |alphabet: &str, text: &str| {
            std::fs::write(&path, text).unwrap();
            Dataset::of(name, &model(alphabet)).unwrap_err().to_string()
        };
        for (alphabet, text, words) in [
            ("", "ab\nc", vec!["alphabet = \"\\nabc\"", "above [train]"]),
            ("alphabet = \"abc\"\n", "abc\nabx", vec!["line 1, column 4", "'\\n'"]),
            ("alphabet = \"abc\\n\"\n", "abc\nabx", vec!["line 2, column 3", "'x'"]),
            ("alphabet = \"abc\"\n", "abc", vec!["3 characters", "81 are the least"]),
            ("alphabet = \"cbda\"\n", &text, vec!["3 tokens", "number 3"]),
        ] {
            let e = fails(alphabet, text);
            assert!(words.iter().all(|w| e.contains(w)), "{text:?}: {e}");
        }
        let e = Dataset::of("digits", &model("")).unwrap_err().to_string();
        assert!(e.contains("each of 4 steps") && e.contains("has one class"), "{e}");
    }
}
