use calamine::{Data, DataType, Reader, Xlsx, open_workbook};
use domain::bundled_zone;

use super::*;

const COLUMNS: &[Column] =
    &[("what", 20), ("amount", 14), ("occurred at", 20), ("booked on", 12), ("late", 6), ("position", 10)];

fn files(folder: &Path) -> Files {
    Files { csv: Some(folder.join("table.csv")), xlsx: Some(folder.join("table.xlsx")) }
}

fn money(minor: i64, currency: &str) -> Money {
    Money::new(minor, currency.parse().unwrap())
}

/// What is written to both files, a sheet for each list.
fn write(folder: &Path, sheets: &[(&str, Vec<[Cell<'_>; 6]>)]) -> anyhow::Result<u64> {
    let zone = bundled_zone("Asia/Shanghai").unwrap();
    let mut tables = Tables::begin(&files(folder), COLUMNS, zone)?;
    for (name, rows) in sheets {
        tables.sheet(name)?;
        rows.iter().try_for_each(|row| tables.row(row))?;
    }
    tables.finish()
}

fn row<'a>(what: &'a str, amount: Money) -> [Cell<'a>; 6] {
    let at: Timestamp = "2026-10-31T16:00:01.5Z".parse().unwrap();
    let date = jiff::civil::date(2026, 11, 1);
    [what.into(), Cell::Amount(amount), Cell::Time(at), Cell::Date(date), Cell::Truth(true), Cell::Count(7)]
}

fn csv_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("table.csv")).unwrap()
}

fn sheets_of(folder: &Path) -> Vec<(String, calamine::Range<Data>)> {
    let mut workbook: Xlsx<_> = open_workbook(folder.join("table.xlsx")).unwrap();
    workbook.worksheets()
}

#[test]
fn a_workbook_comes_back_as_numbers_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let (yen, dinar) = (money(-1_234, "JPY"), money(1_234_567, "KWD"));
    let sheets =
        [("CNY", vec![row("Rice, fried", money(-1_050, "CNY"))]), ("others", vec![row("a", yen), row("b", dinar)])];
    assert_eq!(write(folder.path(), &sheets).unwrap(), 3);
    let read = sheets_of(folder.path());
    let names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["CNY", "others"]);
    let headings: Vec<_> = read[1].1.rows().next().unwrap().iter().map(|cell| cell.to_string()).collect();
    assert_eq!(headings, ["what", "amount", "occurred at (Asia/Shanghai)", "booked on", "late", "position"]);
    let cells = read[0].1.rows().nth(1).unwrap();
    assert_eq!((&cells[0], &cells[1]), (&Data::String("Rice, fried".into()), &Data::Float(-10.5)));
    let (Data::DateTime(at), Data::DateTime(on)) = (&cells[2], &cells[3]) else { panic!("{cells:?}") };
    // Midnight and a second and a half, in the zone of the books.
    assert_eq!(
        (at.to_ymd_hms_milli(), on.to_ymd_hms_milli()),
        ((2026, 11, 1, 0, 0, 1, 500), (2026, 11, 1, 0, 0, 0, 0))
    );
    assert_eq!((&cells[4], &cells[5]), (&Data::Bool(true), &Data::Float(7.0)));
    let amounts: Vec<_> = read[1].1.rows().skip(1).map(|cells| cells[1].get_float()).collect();
    assert_eq!(amounts, [Some(-1234.0), Some(1234.567)]);
}

#[test]
fn a_csv_file_has_plain_digits_and_offsets() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("CNY", vec![row("Rice, fried", money(-1_050, "CNY"))])]).unwrap();
    let expected = "what,amount,occurred at,booked on,late,position\n\
                    \"Rice, fried\",-10.50,2026-11-01T00:00:01.5+08:00,2026-11-01,true,7\n";
    assert_eq!(csv_of(folder.path()), expected);
}

#[test]
fn no_text_is_a_formula() {
    let folder = tempfile::tempdir().unwrap();
    let texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "=cmd|' /C calc'!A0", "a=1", "'=1", ""];
    let rows = texts.iter().map(|text| row(text, money(1, "CNY"))).collect();
    write(folder.path(), &[("texts", rows)]).unwrap();
    let csv = csv_of(folder.path());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let first: Vec<String> = reader.records().map(|record| record.unwrap()[0].to_owned()).collect();
    let guarded = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", "'  =1", "'=cmd|' /C calc'!A0"];
    assert_eq!(first[..8], guarded);
    assert_eq!(first[8..], ["a=1", "'=1", ""]);
    // A workbook says of each cell what it is.
    let read = sheets_of(folder.path());
    let shown: Vec<String> = read[0].1.rows().skip(1).map(|cells| cells[0].to_string()).collect();
    assert_eq!(shown[0], "=1+1");
    let mut workbook: Xlsx<_> = open_workbook(folder.path().join("table.xlsx")).unwrap();
    assert!(workbook.worksheet_formula("texts").unwrap().rows().flatten().all(String::is_empty));
}

#[test]
fn every_amount_that_a_spreadsheet_keeps_is_exact_and_others_are_refused() {
    let most = 999_999_999_999_999;
    for minor in [0, 1, -1, 10, 105, 123_456_789, most, -most, 123_456_789_012_345, 100_000_000_000_001] {
        for currency in ["JPY", "CNY", "KWD"] {
            let amount = money(minor, currency);
            let number = exact(amount).unwrap();
            let shown: rust_decimal::Decimal = number.to_string().parse().unwrap();
            assert_eq!(shown, amount.to_decimal(), "{amount:?}");
        }
    }
    let refused = exact(money(most + 1, "CNY")).unwrap_err().to_string();
    assert!(refused.contains("10000000000000.00 CNY has more digits") && refused.contains("--csv"), "{refused}");
}

#[test]
fn a_file_is_there_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let good = || vec![row("good", money(1, "CNY"))];
    write(folder.path(), &[("one", good())]).unwrap();
    let before = csv_of(folder.path());
    // The second row cannot be written: what was there stays, and nothing else is left.
    let too_large = vec![row("new", money(2, "CNY")), row("large", money(Money::MAX_MINOR, "CNY"))];
    write(folder.path(), &[("one", too_large)]).unwrap_err();
    assert_eq!(csv_of(folder.path()), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    write(folder.path(), &[("one", vec![row("new", money(2, "CNY"))])]).unwrap();
    assert!(csv_of(folder.path()).contains("new"));

    let nowhere = Files { csv: Some(folder.path().join("no/where.csv")), xlsx: None };
    let error = Tables::begin(&nowhere, COLUMNS, TimeZone::UTC).err().unwrap();
    assert!(error.is::<crate::config::Usage>() && error.to_string().contains("cannot be written"), "{error}");
    let same = Files { csv: Some("a".into()), xlsx: Some("a".into()) };
    assert!(Tables::begin(&same, COLUMNS, TimeZone::UTC).is_err());
}

#[test]
fn days_before_spreadsheets_begin_are_texts() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = row("old", money(1, "CNY"));
    (old[2], old[3]) = (Cell::Time(Timestamp::from_micros(i64::MIN)), Cell::Date(jiff::civil::date(1, 1, 1)));
    write(folder.path(), &[("old", vec![old])]).unwrap();
    let read = sheets_of(folder.path());
    assert_eq!(read[0].1.rows().nth(1).unwrap()[3].get_string(), Some("0001-01-01T00:00:00"));
}
