//! The working set over a real file.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::row;

row! {
    struct Shelf in "shelves" {
        key { room: u32, number: u32 }
        books: u64,
        label: Option<String>,
    }
    index "books" on "(books)";
}

fn shelf(number: u32, books: u64) -> Shelf {
    Shelf { room: 1, number, books, label: books.is_multiple_of(2).then(|| format!("{books}")) }
}

const SUFFIX: &str = "__v1_b1";

fn table() -> Rc<Connection> {
    let connection = Connection::Sqlite(rusqlite::Connection::open_in_memory().unwrap());
    connection.create(&Shelf::TABLE, SUFFIX).unwrap();
    Rc::new(connection)
}

fn rows(connection: &Rc<Connection>) -> Rows {
    Rows::over(connection.clone(), SUFFIX.into(), false)
}

fn stored(connection: &Connection) -> Vec<Shelf> {
    let sql = "SELECT room, number, books, label FROM shelves__v1_b1 ORDER BY room, number";
    connection.query(sql, &[], Shelf::read).unwrap()
}

/// Writes what changed. Answers how many rows that were.
fn flush(rows: &mut Rows, connection: &Connection) -> usize {
    let mut written = 0;
    for changes in rows.take_changes() {
        let (inserts, puts, deletes) = changes.counts();
        written += inserts + puts + deletes;
        connection.write(SUFFIX, &*changes).unwrap();
    }
    written
}

#[test]
fn a_row_that_changes_often_is_written_once() {
    let connection = table();
    let mut rows = rows(&connection);
    for _ in 0..1_000 {
        rows.get_or_insert_with(&(1, 1), || shelf(1, 0)).books += 1;
    }
    assert_eq!(flush(&mut rows, &connection), 1);
    assert_eq!(stored(&connection)[0].books, 1_000);
    assert_eq!(flush(&mut rows, &connection), 0);
    // The next batch does not read it again.
    connection.run("DELETE FROM shelves__v1_b1").unwrap();
    assert_eq!(rows.get::<Shelf>(&(1, 1)).unwrap().books, 1_000);
}

#[test]
fn what_comes_and_goes_within_a_batch_is_never_written() {
    let connection = table();
    let mut rows = rows(&connection);
    rows.put(shelf(1, 1));
    rows.create(shelf(2, 2));
    assert_eq!(rows.delete::<Shelf>(&(1, 1)), Some(shelf(1, 1)));
    rows.delete::<Shelf>(&(1, 2));
    assert_eq!(rows.delete::<Shelf>(&(1, 3)), None);
    assert_eq!(flush(&mut rows, &connection), 0);
    rows.put(shelf(1, 1));
    assert_eq!(flush(&mut rows, &connection), 1);
    rows.delete::<Shelf>(&(1, 1));
    assert_eq!((flush(&mut rows, &connection), stored(&connection)), (1, vec![]));
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_and_not_a_missing_row() {
    let connection = table();
    connection.run("INSERT INTO shelves__v1_b1 VALUES (1, 1, -5, NULL)").unwrap();
    let mut rows = rows(&connection);
    assert_eq!(rows.get::<Shelf>(&(1, 1)), None);
    assert!(rows.take_failure().unwrap().to_string().contains("-5"));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u64),
    Bump(u32),
    BumpOrMake(u32),
    Delete(u32),
    Flush,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..6_u32;
    prop_oneof![
        (number.clone(), 0..9_u64).prop_map(|(number, books)| Step::Put(number, books)),
        number.clone().prop_map(Step::Bump),
        number.clone().prop_map(Step::BumpOrMake),
        number.prop_map(Step::Delete),
        Just(Step::Flush),
        Just(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn rows_are_a_map_whatever_is_flushed_or_forgotten_between(steps in prop::collection::vec(step(), 0..60)) {
        let connection = table();
        let mut rows = rows(&connection);
        let mut model: BTreeMap<u32, Shelf> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(number, books) => {
                    rows.put(shelf(number, books));
                    model.insert(number, shelf(number, books));
                }
                Step::Bump(number) => {
                    let ours = rows.get_mut::<Shelf>(&(1, number)).map(|shelf| { shelf.books += 1; shelf.books });
                    let theirs = model.get_mut(&number).map(|shelf| { shelf.books += 1; shelf.books });
                    prop_assert_eq!(ours, theirs);
                }
                Step::BumpOrMake(number) => {
                    rows.get_or_insert_with(&(1, number), || shelf(number, 0)).books += 1;
                    model.entry(number).or_insert_with(|| shelf(number, 0)).books += 1;
                }
                Step::Delete(number) => {
                    prop_assert_eq!(rows.delete::<Shelf>(&(1, number)), model.remove(&number));
                }
                Step::Flush => {
                    flush(&mut rows, &connection);
                    prop_assert_eq!(stored(&connection), model.values().cloned().collect::<Vec<_>>());
                }
                Step::Forget => {
                    flush(&mut rows, &connection);
                    rows.clear();
                }
            }
        }
        flush(&mut rows, &connection);
        prop_assert_eq!(stored(&connection), model.into_values().collect::<Vec<_>>());
    }
}
