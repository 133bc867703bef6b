//! The working set over a real file.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::{db::Connection, row};

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

/// A file with an empty table, to look at beside the rows.
fn table() -> (NamedTempFile, Connection) {
    let file = NamedTempFile::new().unwrap();
    let connection = Connection::Sqlite(rusqlite::Connection::open(file.path()).unwrap());
    connection.create(&Shelf::TABLE, SUFFIX).unwrap();
    (file, connection)
}

fn rows(file: &NamedTempFile, fresh: bool) -> Rows {
    let lookups = Connection::Sqlite(rusqlite::Connection::open(file.path()).unwrap());
    Rows::over(Lookups::new(lookups), SUFFIX.into(), fresh)
}

fn stored(connection: &Connection) -> Vec<Shelf> {
    let sql = "SELECT room, number, books, label FROM shelves__v1_b1 ORDER BY room, number";
    connection.query(sql, &[], Shelf::read).unwrap()
}

/// Writes what changed. Answers how many rows that were.
fn flush(rows: &mut Rows, connection: &Connection) -> usize {
    let mut written = 0;
    for changes in rows.take_changes() {
        let (inserts, puts, deletes) = changes.sorted().counts();
        written += inserts + puts + deletes;
        connection.write(SUFFIX, &*changes).unwrap();
    }
    rows.keep_written();
    written
}

#[test]
fn a_row_that_changes_often_is_written_once() {
    let (file, connection) = table();
    let mut rows = rows(&file, false);
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
    let (file, connection) = table();
    let mut rows = rows(&file, false);
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
    let (file, connection) = table();
    connection.run("INSERT INTO shelves__v1_b1 VALUES (1, 1, -5, NULL)").unwrap();
    let mut rows = rows(&file, false);
    assert_eq!(rows.get::<Shelf>(&(1, 1)), None);
    assert!(rows.take_failure().unwrap().to_string().contains("-5"));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u64),
    Bump(u32),
    BumpOrMake(u32),
    Delete(u32),
    /// Tries what is then not done.
    Try(u32),
    /// What changed is taken, and is in flight until it is written.
    Take,
    /// It is written, and the rows stay in memory or are forgotten.
    Written {
        kept: bool,
    },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..6_u32;
    prop_oneof![
        (number.clone(), 0..9_u64).prop_map(|(number, books)| Step::Put(number, books)),
        number.clone().prop_map(Step::Bump),
        number.clone().prop_map(Step::BumpOrMake),
        number.clone().prop_map(Step::Delete),
        number.prop_map(Step::Try),
        Just(Step::Take),
        any::<bool>().prop_map(|kept| Step::Written { kept }),
        Just(Step::Clear),
    ]
}

/// Rows, their table, and what is in flight between them.
struct Shop {
    connection: Connection,
    rows: Rows,
    in_flight: Option<Vec<Box<dyn TableChanges>>>,
}

impl Shop {
    fn take(&mut self) {
        if self.in_flight.is_none() {
            self.in_flight = Some(self.rows.take_changes());
        }
    }

    fn written(&mut self, kept: bool) {
        for changes in self.in_flight.take().into_iter().flatten() {
            self.connection.write(SUFFIX, &*changes).unwrap();
        }
        if kept { self.rows.keep_written() } else { self.rows.forget_written() }
    }

    /// Everything is in the table.
    fn flush(&mut self) {
        self.written(true);
        self.take();
        self.written(true);
    }
}

proptest! {
    #[test]
    fn rows_are_a_map_whatever_is_in_flight_or_forgotten_between(
        fresh in any::<bool>(), steps in prop::collection::vec(step(), 0..80),
    ) {
        let (file, connection) = table();
        connection.run("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY").unwrap();
        let rows = rows(&file, fresh);
        let mut shop = Shop { connection, rows, in_flight: None };
        let mut model: BTreeMap<u32, Shelf> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(number, books) => {
                    shop.rows.put(shelf(number, books));
                    model.insert(number, shelf(number, books));
                }
                Step::Bump(number) => {
                    let ours = shop.rows.get_mut::<Shelf>(&(1, number)).map(|shelf| { shelf.books += 1; shelf.books });
                    let theirs = model.get_mut(&number).map(|shelf| { shelf.books += 1; shelf.books });
                    prop_assert_eq!(ours, theirs);
                }
                Step::BumpOrMake(number) => {
                    shop.rows.get_or_insert_with(&(1, number), || shelf(number, 0)).books += 1;
                    model.entry(number).or_insert_with(|| shelf(number, 0)).books += 1;
                }
                Step::Delete(number) => {
                    prop_assert_eq!(shop.rows.delete::<Shelf>(&(1, number)), model.remove(&number));
                }
                Step::Try(number) => {
                    shop.rows.try_out(|rows| {
                        rows.get_or_insert_with(&(1, number), || shelf(number, 0)).books += 1;
                        rows.delete::<Shelf>(&(1, (number + 1) % 6));
                        rows.create(shelf(number, 7));
                    }).unwrap();
                }
                Step::Take => shop.take(),
                Step::Written { kept } => shop.written(kept),
                Step::Clear => {
                    shop.flush();
                    shop.rows.clear();
                }
            }
        }
        shop.flush();
        prop_assert_eq!(stored(&shop.connection), model.into_values().collect::<Vec<_>>());
        prop_assert!(shop.rows.take_failure().is_none());
    }
}

#[test]
fn rows_that_are_forgotten_often_are_the_last_to_be_forgotten_again() {
    let (file, connection) = table();
    let mut rows = rows(&file, false);
    for number in 0..5_000 {
        rows.create(shelf(number, 1));
    }
    assert_eq!(rows.spare(), rows.weight().entries);
    for changes in rows.take_changes() {
        connection.write(SUFFIX, &*changes).unwrap();
    }
    assert!(rows.weight().entries == 0 && rows.weight().frozen > 5_000 * size_of::<Shelf>());
    rows.forget_written();
    for number in 0..4_500 {
        rows.get_mut::<Shelf>(&(1, number)).unwrap().books += 1;
    }
    assert!(rows.spare() <= rows.weight().entries / 3, "4,500 were looked up again");
    // What only waits to be written costs nothing to give up.
    let before = rows.spare();
    (6_000..7_000).for_each(|number| rows.append(shelf(number, 1)));
    assert!(rows.spare() >= before + 1_000 * size_of::<Shelf>());
}
