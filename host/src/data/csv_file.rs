//! CSV: whole numbers 0..=255, the class last; a first line that is no numbers is taken as a heading.

use super::Rows;

/// Rows and features per row; on failure, says which line is wrong and how.
pub(super) fn parse(bytes: &[u8]) -> Result<(Rows, usize), String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut rows = Rows::default();
    let mut width = None;
    for (i, record) in reader.records().enumerate() {
        let line = i + 1;
        let record = record.map_err(|e| format!("line {line}: {e}"))?;
        let heading = i == 0 && record.iter().all(|f| !f.is_empty() && f.parse::<f64>().is_err());
        if heading {
            continue;
        }
        if record.len() < 2 {
            return Err(format!("line {line} holds {} value; features and a class are needed", record.len()));
        }
        let expected = *width.get_or_insert(record.len() - 1);
        if record.len() - 1 != expected {
            return Err(format!("line {line} holds {} features, the lines before it {expected}", record.len() - 1));
        }
        for (column, field) in record.iter().enumerate() {
            let value: u8 = field
                .parse()
                .map_err(|_| format!("line {line}, value {}: {field:?} is no whole number 0..=255", column + 1))?;
            if column < expected {
                rows.features.push(value);
            } else {
                rows.labels.push(value);
            }
        }
    }
    width.map(|w| (rows, w)).ok_or_else(|| "it is empty".into())
}
