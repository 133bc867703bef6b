//! Tables: made, written, loaded.

use std::time::{Duration, Instant};

use domain::Timestamp;
use jiff::civil::date;
use uuid::Uuid;

use super::*;
use crate::args;

fn full(number: i64) -> Thing {
    Thing {
        name: "it's \"größer\" 🍲 \t\\N".into(),
        other: Some(Uuid::max()),
        amount: Some(i64::MIN),
        note: Some(String::new()),
        sold: Some(false),
        sold_at: Some(Timestamp::from_micros(-1)),
        sold_on: Some(date(1999, 12, 31)),
        extra: Some(Json(vec![u64::MAX])),
        ..Thing::new(number)
    }
}

fn loaded(connection: &Connection, keys: impl IntoIterator<Item = i64>) -> Vec<Thing> {
    let tenant = Uuid::from_u128(7);
    let keys: Vec<_> = keys.into_iter().map(|number| owned(&[Value::Uuid(tenant), Value::Integer(number)])).collect();
    let mut found = Vec::new();
    let look = &mut |row: &crate::SqlRow<'_>| {
        found.push(Thing::read(row)?);
        Ok(())
    };
    connection.load(&connection.load_sql(&Thing::TABLE, "_1"), &Thing::TABLE, &keys, look).unwrap();
    found.sort_by_key(Row::key);
    found
}

#[test]
fn rows_are_inserted_put_and_deleted_and_loaded_by_key() {
    let place = Place::new();
    let connection = place.writer();
    connection.create(&Thing::TABLE, "_1").unwrap();
    let write = |changes: Changes<Thing>| connection.write("_1", &changes);
    // More than one statement takes.
    let many: Vec<Thing> =
        (0..21_000).map(|number| if number % 3 == 0 { full(number) } else { Thing::new(number) }).collect();
    write(Changes { inserts: many.clone(), ..Changes::default() }).unwrap();
    assert_eq!(all::<Thing>(&connection), many);
    // Half of them are there.
    let put: Vec<Thing> = (10_500..31_500).map(|number| Thing { name: "new".into(), ..full(number) }).collect();
    write(Changes { puts: put.clone(), ..Changes::default() }).unwrap();
    let mut wanted: Vec<Thing> = many[..10_500].iter().cloned().chain(put).collect();
    assert_eq!(all::<Thing>(&connection), wanted);
    assert_eq!(loaded(&connection, (-1..22_000).rev()), wanted[..22_000]);
    assert_eq!(loaded(&connection, []), []);
    assert_eq!(loaded(&connection, [-7, 40_000]), []);
    // What goes, comes and changes at once.
    let deletes = (0..20_500).map(|number| Thing::new(number).key()).collect();
    let changed = Thing { note: Some("changed".into()), ..Thing::new(30_000) };
    write(Changes { inserts: vec![Thing::new(3)], puts: vec![changed.clone()], deletes }).unwrap();
    wanted.splice(0..20_500, [Thing::new(3)]);
    let at = wanted.iter().position(|thing| thing.number == 30_000).unwrap();
    wanted[at] = changed;
    assert_eq!(all::<Thing>(&connection), wanted);
}

#[test]
fn a_table_has_the_types_and_the_comments_that_people_with_a_prompt_expect() {
    let place = Place::new();
    let writer = place.writer();
    writer.create(&Thing::TABLE, "_1").unwrap();
    writer.index(&Thing::TABLE, "_1").unwrap();
    let columns = place.psql(
        "SELECT string_agg(column_name || ' ' || data_type || CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END, ', '
                           ORDER BY ordinal_position)
         FROM information_schema.columns WHERE table_schema = 'views' AND table_name = 'things_1'",
    );
    assert_eq!(
        columns,
        "tenant uuid, number bigint, name text, ready boolean, made_at timestamp with time zone, day date, tags jsonb, \
         other uuid?, amount bigint?, note text?, sold boolean?, sold_at timestamp with time zone?, sold_on date?, \
         extra jsonb?"
    );
    let collations = "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_schema = 'views' AND data_type = 'text'";
    assert_eq!(place.psql(collations), "C");
    let comment = |what: &str| place.psql(&format!("SELECT {what}"));
    assert_eq!(
        comment("obj_description('views.things_1'::regclass)"),
        "A thing of every kind, with an Option of each."
    );
    assert_eq!(comment("col_description('views.things_1'::regclass, 3)"), "What it's called; 'quoted'.");
    assert_eq!(comment("col_description('views.things_1'::regclass, 4) IS NULL"), "t");
    let indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'views' ORDER BY 1";
    assert_eq!(
        place.psql(indexes),
        "things_1_name|CREATE INDEX things_1_name ON views.things_1 USING btree (tenant, name)\n\
         things_1_pkey|CREATE UNIQUE INDEX things_1_pkey ON views.things_1 USING btree (tenant, number)"
    );
}

#[test]
fn texts_stand_in_the_order_of_their_bytes() {
    let place = Place::new();
    let connection = place.writer();
    connection.create(&Thing::TABLE, "_1").unwrap();
    let names = ["b", "B", "a", "ä", "_", "Z"];
    let inserts = names.iter().zip(0..).map(|(name, number)| Thing { name: (*name).into(), ..Thing::new(number) });
    connection.write("_1", &Changes { inserts: inserts.collect(), ..Changes::default() }).unwrap();
    let sorted = connection.query("SELECT name FROM things_1 ORDER BY name", &[], |row| row.get::<String>(0)).unwrap();
    assert_eq!(sorted, ["B", "Z", "_", "a", "b", "ä"]);
    let next: Vec<i64> = connection
        .query("SELECT number FROM things_1 WHERE name > ?1", args!["a".to_owned()], |row| row.get(0))
        .unwrap();
    assert_eq!(next, [0, 3]);
}

#[test]
fn a_row_that_should_not_be_there_or_does_not_fit_fails_the_whole_batch() {
    let place = Place::new();
    let connection = place.writer();
    connection.create(&Thing::TABLE, "_1").unwrap();
    let inserts = |rows: Vec<Thing>| Changes { inserts: rows, ..Changes::default() };
    connection.write("_1", &inserts(vec![Thing::new(1)])).unwrap();
    let transaction = connection.begin(super::super::super::Mode::Write).unwrap();
    transaction.write("_1", &inserts(vec![Thing::new(5)])).unwrap();
    let error = transaction.write("_1", &inserts(vec![Thing::new(2), Thing::new(1)])).unwrap_err();
    assert_eq!(code(&error), "23505");
    drop(transaction);
    assert_eq!(all::<Thing>(&connection), [Thing::new(1)]);

    // Deep into a copy that has been sent in part.
    let mut rows: Vec<Thing> = (10..9_000).map(Thing::new).collect();
    rows.push(Thing { name: "a\0".into(), ..Thing::new(9_000) });
    let why = misfit(connection.write("_1", &inserts(rows)).unwrap_err());
    assert!(why.contains("NUL"), "{why}");
    assert_eq!(all::<Thing>(&connection), [Thing::new(1)]);
    let tagged = |tag: &str| Thing { tags: Json(vec!["x".to_owned(), tag.to_owned()]), ..Thing::new(9_000) };
    for nul in ["\0", "a\\\0"] {
        let why = misfit(connection.write("_1", &inserts(vec![tagged(nul)])).unwrap_err());
        assert!(why.contains("NUL"), "{why}");
    }
    let puts = vec![Thing::new(3), Thing { note: Some("\0".into()), ..Thing::new(4) }];
    assert!(connection.write("_1", &Changes { puts, ..Changes::default() }).is_err());
    assert_eq!(all::<Thing>(&connection), [Thing::new(1)]);
    // What only looks like it is written as it is.
    let tagged = tagged("\\u0000");
    connection.write("_1", &inserts(vec![tagged.clone()])).unwrap();
    assert_eq!(all::<Thing>(&connection), [Thing::new(1), tagged]);
}

#[test]
fn new_rows_are_written_as_quickly_as_changed_ones() {
    const TIMES: i64 = 50;
    let place = Place::new();
    let connection = place.writer();
    connection.create(&Thing::TABLE, "_1").unwrap();
    let timed = |changes: &dyn Fn(i64) -> Changes<Thing>| {
        let began = Instant::now();
        (0..TIMES).for_each(|number| connection.write("_1", &changes(number)).unwrap());
        began.elapsed()
    };
    let new = timed(&|number| Changes { inserts: vec![Thing::new(number)], ..Changes::default() });
    let changed = timed(&|number| Changes { puts: vec![Thing::new(number)], ..Changes::default() });
    // A message that waits for an acknowledgement waits 40 ms.
    assert!(new < 3 * changed + Duration::from_millis(500), "{new:?} for new rows, {changed:?} for changed ones");
}

row! {
    /// Only a key.
    struct Mark in "marks" {
        key { tenant: uuid::Uuid, day: jiff::civil::Date }
    }
}

#[test]
fn a_row_may_be_nothing_but_its_key() {
    let place = Place::new();
    let connection = place.writer();
    connection.create(&Mark::TABLE, "_1").unwrap();
    let mark = |day| Mark { tenant: Uuid::nil(), day: date(2026, 11, day) };
    let write = |puts, deletes| connection.write("_1", &Changes { puts, deletes, ..Changes::default() }).unwrap();
    write(vec![mark(1), mark(2)], vec![]);
    write(vec![mark(2), mark(3)], vec![mark(1).key()]);
    assert_eq!(all::<Mark>(&connection), [mark(2), mark(3)]);
}

#[test]
fn names_are_short_enough_for_postgres() {
    for table in crate::all().iter().flat_map(|projection| projection.tables()) {
        let name = format!("{}__v9999_b9999", table.name);
        let indexes = table.indexes.iter().map(|(index, _)| format!("{name}_{index}"));
        for name in indexes.chain([name.clone()]) {
            assert!(name.len() < 64, "{name}");
        }
    }
}
