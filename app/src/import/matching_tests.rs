use jiff::civil;

use super::{super::orders::PastOrder, *};

const SOUP: usize = 0;
const TEA: usize = 1;

/// Orders at hours, and cancellations; a diner "" is a visitor.
#[derive(Default)]
struct Till(History);

/// Of a cancelled line, from the sale at an hour, so many portions.
type Taken = (Cancelled, String, u32);

fn who(diner: &str) -> Who {
    if diner.is_empty() { Who::Visitor } else { Who::Diner(diner.to_owned()) }
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_seconds(hour * 3_600)
}

impl Till {
    fn sold(mut self, hour: i64, diner: &str, lines: &[(usize, i64, u32)]) -> Self {
        let line = |&(dish, unit_price, quantity): &(usize, i64, u32)| PastLine { dish, unit_price, quantity };
        self.0.orders.push(PastOrder {
            number: format!("at {hour}"),
            part: 1,
            line: 0,
            at: at(hour),
            date: civil::Date::ZERO,
            who: who(diner),
            lines: lines.iter().map(line).collect(),
            shares: vec![],
        });
        self
    }

    fn back(mut self, hour: i64, diner: &str, lines: &[(usize, i64, u32)]) -> Self {
        let line = |&(dish, unit_price, quantity): &(usize, i64, u32)| CancelledLine {
            dish,
            unit_price,
            quantity,
            rows: vec![(0, quantity)],
        };
        let lines = lines.iter().map(line).collect();
        self.0.cancellations.push(Cancellation { number: format!("C{hour}"), at: at(hour), who: who(diner), lines });
        self
    }

    fn matched(&self) -> (Vec<Taken>, Vec<(Cancelled, u32, Reason)>) {
        let matches = Sales::of(&self.0).matched(|_, _| None);
        let of = |one: &Match| (one.of, self.0.orders[one.order].number.clone(), one.quantity());
        let rests = matches.rests.iter().map(|rest| (rest.of, rest.quantity, rest.reason));
        (matches.matched.iter().map(of).collect(), rests.collect())
    }
}

fn taken(cancellation: usize, hour: i64, quantity: u32) -> Taken {
    ((cancellation, 0), format!("at {hour}"), quantity)
}

#[test]
fn the_most_recent_sale_goes_first_and_the_rest_comes_from_those_before() {
    let till = Till::default()
        .sold(1, "a", &[(SOUP, 300, 5)])
        .sold(2, "a", &[(SOUP, 300, 2)])
        .sold(9, "a", &[(SOUP, 300, 9)])
        .back(3, "a", &[(SOUP, 300, 3)])
        .back(4, "a", &[(SOUP, 300, 9)])
        .back(9, "a", &[(SOUP, 300, 9)]);
    let (matched, rests) = till.matched();
    assert_eq!(matched, [taken(0, 2, 2), taken(0, 1, 1), taken(1, 1, 4), taken(2, 9, 9)]);
    assert_eq!(rests, [((1, 0), 5, Reason::MoreThanSold)]);
}

#[test]
fn what_cannot_be_matched_says_why() {
    let till = Till::default()
        .sold(5, "a", &[(SOUP, 300, 5), (TEA, 100, 1)])
        .sold(5, "", &[(SOUP, 300, 5)])
        .back(4, "a", &[(SOUP, 300, 1)])
        .back(6, "b", &[(SOUP, 300, 1)])
        .back(6, "a", &[(SOUP, 299, 1), (TEA, 100, 2)])
        .back(6, "", &[(SOUP, 300, 1)])
        .sold(7, "a", &[(SOUP, 299, 5)]);
    let (matched, rests) = till.matched();
    assert_eq!(matched, [((2, 1), "at 5".to_owned(), 1)]);
    let of = |cancellation, line, reason| ((cancellation, line), 1, reason);
    let expected = [
        of(0, 0, Reason::SoldLater),
        of(1, 0, Reason::NoSale),
        of(2, 0, Reason::OtherPrice),
        of(2, 1, Reason::MoreThanSold),
        of(3, 0, Reason::NoDiner),
    ];
    assert_eq!(rests, expected);
}

#[test]
fn a_line_in_pieces_is_one_refund_of_its_order() {
    let till = Till::default().sold(1, "a", &[(SOUP, 3, 1_000), (SOUP, 3, 1_000), (TEA, 3, 9), (SOUP, 3, 500)]);
    let matches = Sales::of(&till.back(2, "a", &[(SOUP, 3, 1_600)]).0).matched(|_, _| None);
    let [one] = &matches.matched[..] else { panic!("{matches:?}") };
    let counts: Vec<_> = one.lines.iter().map(|count| (count.line, count.quantity)).collect();
    assert_eq!(counts, [(3, 500), (1, 1_000), (0, 100)]);
    assert_eq!(matches.rests, []);
}

/// Random sales and cancellations of few diners, dishes and prices, in the order of their time.
fn random(seed: u64, hours: std::ops::Range<i64>) -> Till {
    let mut state = seed;
    let mut next = move |below: u64| {
        // Knuth's MMIX constants; the upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut till = Till::default();
    for hour in hours {
        let line = (next(2) as usize, 100 + next(2) as i64, 1 + next(6) as u32);
        let diner = ["a", "b", ""][next(3) as usize];
        till = if next(3) == 0 { till.back(hour, diner, &[line]) } else { till.sold(hour, diner, &[line]) };
    }
    till
}

#[test]
fn never_more_than_was_sold_nor_than_was_cancelled() {
    for seed in 0..200 {
        let till = random(seed, 0..60);
        let matches = Sales::of(&till.0).matched(|_, _| None);
        let mut left: HashMap<(usize, u16), u32> = HashMap::new();
        for (order, past) in till.0.orders.iter().enumerate() {
            left.extend((0_u16..).zip(&past.lines).map(|(line, sold)| ((order, line), sold.quantity)));
        }
        let mut wanted: HashMap<Cancelled, u32> = lines(&till.0).map(|(of, _, line)| (of, line.quantity)).collect();
        for one in &matches.matched {
            let (cancellation, order) = (&till.0.cancellations[one.of.0], &till.0.orders[one.order]);
            assert!(order.at <= cancellation.at && order.who == cancellation.who, "seed {seed}");
            for count in &one.lines {
                let has = left.get_mut(&(one.order, count.line)).unwrap();
                *has = has.checked_sub(count.quantity).unwrap_or_else(|| panic!("seed {seed}: {one:?}"));
            }
            *wanted.get_mut(&one.of).unwrap() -= one.quantity();
        }
        for rest in &matches.rests {
            *wanted.get_mut(&rest.of).unwrap() -= rest.quantity;
        }
        assert!(wanted.values().all(|open| *open == 0), "seed {seed}: every portion is matched or has a reason");
    }
}

#[test]
fn a_longer_file_matches_what_a_shorter_one_did_just_so() {
    for seed in 0..200 {
        let (before, till, after) = (random(seed + 1_000, -30..0), random(seed, 0..40), random(seed + 2_000, 40..60));
        let (short, _) = till.matched();
        let named = |till: &Till, of: Cancelled| till.0.cancellations[of.0].number.clone();
        let short: Vec<_> = short.into_iter().map(|(of, sale, n)| (named(&till, of), sale, n)).collect();
        let mut long = before;
        for more in [till, after] {
            long.0.orders.extend(more.0.orders);
            long.0.cancellations.extend(more.0.cancellations);
        }
        let (matched, _) = long.matched();
        let matched: Vec<_> = matched.into_iter().map(|(of, sale, n)| (named(&long, of), sale, n)).collect();
        assert!(short.iter().all(|one| matched.contains(one)), "seed {seed}: {short:?} in {matched:?}");
    }
}

#[test]
fn what_an_earlier_import_refunded_stays_and_is_not_refunded_again() {
    let till = Till::default()
        .sold(1, "a", &[(SOUP, 300, 4)])
        .sold(2, "a", &[(SOUP, 300, 4)])
        .back(3, "a", &[(SOUP, 300, 3)])
        .back(4, "a", &[(SOUP, 300, 4)]);
    // The sale at 2 was in a bad row then: the sale at 1 was refunded for the first cancellation.
    let known =
        |of: Cancelled, order: usize| (of == (0, 0) && order == 0).then(|| vec![LineCount { line: 0, quantity: 2 }]);
    let matches = Sales::of(&till.0).matched(known);
    let said: Vec<_> = matches.matched.iter().map(|one| (one.of.0, one.order, one.quantity(), one.known)).collect();
    assert_eq!(said, [(0, 0, 2, true), (0, 1, 1, false), (1, 1, 3, false), (1, 0, 1, false)]);
    // A crash leaves some of them: the others are found again.
    let all = Sales::of(&till.0).matched(known).matched;
    for kept in 0..1 << all.len() {
        let known = |of: Cancelled, order: usize| {
            let found = all.iter().enumerate().find(|(_, one)| (one.of, one.order) == (of, order));
            found.filter(|(index, one)| one.known || kept >> index & 1 == 1).map(|(_, one)| one.lines.clone())
        };
        let mut again: Vec<_> =
            Sales::of(&till.0).matched(known).matched.into_iter().map(|one| (one.of, one.order, one.lines)).collect();
        let mut whole: Vec<_> = all.iter().map(|one| (one.of, one.order, one.lines.clone())).collect();
        let by = |one: &(Cancelled, usize, Vec<LineCount>)| (one.0, one.1);
        again.sort_by_key(by);
        whole.sort_by_key(by);
        assert_eq!(again, whole, "kept {kept:b}");
    }
}
