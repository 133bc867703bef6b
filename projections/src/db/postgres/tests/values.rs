//! Values on their way to the server and back.

use domain::Timestamp;
use jiff::civil::{Date, date};
use uuid::Uuid;

use super::{super::connection::translate, *};
use crate::{Column, args};

fn comes_back<C: Column + PartialEq + std::fmt::Debug>(connection: &Connection, values: impl IntoIterator<Item = C>) {
    for value in values {
        let back: C = asked(connection, "SELECT ?1", args![value]).unwrap();
        assert_eq!(back, value);
        let null: Option<C> = asked(connection, "SELECT ?1", args![None::<C>]).unwrap();
        assert_eq!(null, None);
    }
}

#[test]
fn values_of_every_kind_come_back_as_they_were() {
    let place = Place::new();
    let connection = place.writer();
    comes_back(&connection, [0, 1, -1, i64::MIN, i64::MAX]);
    comes_back(&connection, [true, false]);
    comes_back(&connection, ["", "it's \"quoted\" ?1 $1 \\ %", "größer 🍲 日本\u{1}\n"].map(str::to_owned));
    comes_back(&connection, [Json(vec!["it's \"quoted\" \\ 🍲\n".to_owned(), String::new()]), Json(vec![])]);
    comes_back(&connection, [Json(vec![u64::MAX, 0])]);
    comes_back(&connection, [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)]);
    comes_back(&connection, [0, -1, 1, 1_795_000_000_123_456, -2_000_000_000_000_000].map(Timestamp::from_micros));
    comes_back(&connection, [date(2000, 1, 1), date(1999, 12, 31), date(2026, 11, 23), date(-4712, 1, 1), Date::MAX]);
}

#[test]
fn the_server_reads_values_as_what_they_are() {
    let place = Place::new();
    let connection = place.writer();
    let text = |sql, params: &[Param<'_>]| asked::<String>(&connection, sql, params).unwrap();
    let at = Timestamp::from_micros(1_795_429_800_123_456);
    assert_eq!(text("SELECT ?1 AT TIME ZONE 'UTC' || ''", args![at]), "2026-11-23 10:30:00.123456");
    assert_eq!(text("SELECT ?1 + 1 || ''", args![date(2026, 2, 28)]), "2026-03-01");
    assert_eq!(text("SELECT ?1 ->> 1", args![Json(vec!["a", "b"].map_strings())]), "b");
    assert_eq!(text("SELECT CASE WHEN ?1 THEN 'yes' ELSE 'no' END", args![true]), "yes");
    // The longest times are cut to what the server has.
    let far: Timestamp = asked(&connection, "SELECT ?1", args![Timestamp::from_micros(i64::MIN)]).unwrap();
    assert_eq!(text("SELECT ?1 AT TIME ZONE 'UTC' || ''", args![far]), "4714-11-24 00:00:00 BC");
    let far: Timestamp = asked(&connection, "SELECT ?1", args![Timestamp::from_micros(i64::MAX)]).unwrap();
    assert_eq!(far.micros, i64::MAX);
}

trait MapStrings {
    fn map_strings(self) -> Vec<String>;
}

impl MapStrings for Vec<&str> {
    fn map_strings(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn what_the_server_computes_is_read_by_its_type() {
    let place = Place::new();
    let connection = place.writer();
    let number = |sql: &str| one::<i64>(&connection, sql);
    assert_eq!(number("SELECT 7::smallint").unwrap(), 7);
    assert_eq!(number("SELECT -7::int").unwrap(), -7);
    assert_eq!(number("SELECT count(*) FROM generate_series(1, 3)").unwrap(), 3);
    assert!(one::<bool>(&connection, "SELECT 1 = 1").unwrap());
    assert!(!one::<bool>(&connection, "SELECT 1 = 2").unwrap());
    for sum in [0, 1, -1, 9_999, 10_000, -100_000_000, 1_000_000_000_001, i64::MAX, i64::MIN] {
        assert_eq!(number(&format!("SELECT sum(n::bigint) FROM (VALUES ({sum}), (0)) AS v(n)")).unwrap(), sum);
    }
    assert_eq!(number("SELECT 12.00").unwrap(), 12);
    for sum in ["9223372036854775808", "1.5", "0.0001", "'NaN'::numeric", "1e40"] {
        let why = misfit(number(&format!("SELECT ({sum})::numeric")).unwrap_err());
        assert!(why.contains("not whole, or too large"), "{why}");
    }
    assert_eq!(one::<String>(&connection, "SELECT 'a'").unwrap(), "a");
    assert_eq!(one::<String>(&connection, "SELECT 'a'::varchar(3)").unwrap(), "a");
    assert_eq!(one::<String>(&connection, "SELECT current_user::name").unwrap(), "tiffin");
    assert_eq!(one::<String>(&connection, r#"SELECT '[1]'::json"#).unwrap(), "[1]");
    assert_eq!(one::<Option<i64>>(&connection, "SELECT sum(n) FROM (SELECT 1 AS n) t WHERE false").unwrap(), None);
    for (sql, name) in
        [("SELECT 1.5::float8", "FLOAT8"), ("SELECT '1 day'::interval", "INTERVAL"), ("SELECT ARRAY[1]", "INT4")]
    {
        let why = misfit(one::<i64>(&connection, sql).unwrap_err());
        assert!(why.contains("column 0") && why.contains(name), "{why}");
    }
    let why = misfit(one::<String>(&connection, "SELECT 'infinity'::date").unwrap_err());
    assert!(why.contains("a day that cannot be written"), "{why}");
    assert!(one::<i64>(&connection, "SELECT ''").is_err());
    let missing = connection.query("SELECT 1", &[], |row| row.get::<i64>(1)).unwrap_err();
    assert!(matches!(missing, SqlError::Postgres(sqlx::Error::ColumnIndexOutOfBounds { index: 1, .. })), "{missing}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_sent() {
    let place = Place::new();
    let connection = place.writer();
    let transaction = connection.begin(super::super::super::Mode::Write).unwrap();
    let refused = |value: &dyn Fn() -> Result<i64, SqlError>| misfit(value().unwrap_err());
    let nul = "a\0b".to_owned();
    let why = refused(&|| asked(&transaction, "SELECT length(?1)", args![nul]));
    assert_eq!(why, "a text has the character NUL at byte 1, which Postgres cannot hold");
    let why = refused(&|| asked(&transaction, "SELECT ?1 - ?1", args![Date::MIN]));
    assert!(why.contains("before the first day"), "{why}");
    let why = refused(&|| asked(&transaction, "SELECT ?1", args![u64::MAX]));
    assert!(why.contains("too large"), "{why}");
    let day = Param { kind: crate::Kind::Date, value: Ok(Value::Uuid(Uuid::nil())) };
    let why = refused(&|| asked(&transaction, "SELECT ?1 - ?1", std::slice::from_ref(&day)));
    assert!(why.contains("not what a column of kind Date holds"), "{why}");
    let why = refused(&|| asked(&transaction, "SELECT ?2", args![1_i64]));
    assert_eq!(why, "there is no parameter ?2 of 1");
    // Nothing reached the server, so the transaction goes on.
    assert_eq!(one::<i64>(&transaction, "SELECT 1::bigint").unwrap(), 1);
    transaction.commit().unwrap();
}

#[test]
fn parameters_are_numbered_as_postgres_wants_them_except_in_quotes() {
    let (text, id) = (String::new(), Uuid::nil());
    let three = args![1_i64, text, id];
    let sql = "SELECT '?1 it''s', \"?2\", x -> '?3' WHERE a = ?1 AND b = ?3 OR ?2 = 'ä?1'";
    let wanted = "SELECT '?1 it''s', \"?2\", x -> '?3' WHERE a = $1::bigint AND b = $3::uuid OR $2::text = 'ä?1'";
    assert_eq!(translate(sql, three).unwrap(), wanted);
    assert_eq!(translate("?1?1", &three[..1]).unwrap(), "$1::bigint$1::bigint");
    for none in ["SELECT ?0", "SELECT ?4", "SELECT ?", "SELECT ?99999999999999999999999"] {
        assert!(translate(none, three).is_err(), "{none}");
    }
}

#[test]
fn the_same_words_with_other_types_are_another_statement() {
    let place = Place::new();
    let connection = place.writer();
    assert_eq!(asked::<i64>(&connection, "SELECT ?1", args![946_684_800_000_000_i64]).unwrap(), 946_684_800_000_000);
    let moment = Timestamp::from_micros(946_684_800_000_000);
    assert_eq!(asked::<Timestamp>(&connection, "SELECT ?1", args![moment]).unwrap(), moment);
}
