//! The hash against published vectors; draws against what chance allows; splits against their algebra.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const KEYS: u32 = 100_000;
const SALTS: [&str; 4] = ["", "reviews-v2", "reviews-v3", "checkout 2026"];

/// The shapes that keys have in practice.
const SHAPES: [fn(u32) -> Vec<u8>; 5] = [
    |number| number.to_string().into_bytes(),
    |number| format!("user-{number:08}@example.com").into_bytes(),
    |number| format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255).into_bytes(),
    |number| format!("{:08x}-4f89-11d3-9a0c-0305e82c3301", number.wrapping_mul(0x9e37_79b1)).into_bytes(),
    |number| number.to_le_bytes().to_vec(),
];

#[test]
fn the_hash_is_xxh64() {
    // The buffer and the results of the self-test that the reference implementation has had since 2014.
    let generator = std::iter::successors(Some(2_654_435_761_u64), |state| {
        Some(state.wrapping_mul(11_400_714_785_074_694_797))
    });
    let buffer: Vec<u8> = generator.map(|state| state.to_be_bytes()[0]).take(101).collect();
    for (length, seed, want) in [
        (0, 0, 0xef46_db37_51d8_e999),
        (0, 2_654_435_761, 0xac75_fda2_929b_17ef),
        (1, 0, 0xe934_a84a_db05_2768),
        (1, 2_654_435_761, 0x5014_6076_43a9_b4c3),
        (4, 0, 0x9136_a0dc_a574_57ee),
        (4, 2_654_435_761, 0xcaab_286b_d8e9_fdb5),
        (14, 0, 0x8282_dcc4_994e_35c8),
        (14, 2_654_435_761, 0xc3bd_6bf6_3deb_6df0),
        (101, 0, 0xa51e_a210_1b2d_114c),
        (101, 2_654_435_761, 0x6b38_a5bb_ba1f_049c),
    ] {
        assert_eq!(xxh64(&buffer[..length], seed), want, "{length} bytes, seed {seed}");
    }
    assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
    assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
    assert_eq!(xxh64(b"Nobody inspects the spammish repetition", 0), 0xfbce_a83c_8a37_8bf1);
    // Every length up to 299, each the seed of the next: computed with the reference implementation (xxHash 0.8.4).
    let chain = (0..300_u32).fold(0, |seed, length| {
        let bytes: Vec<u8> = (0..length).map(|index| (index * 7 + 3).to_le_bytes()[0]).collect();
        xxh64(&bytes, seed)
    });
    assert_eq!(chain, 0x3c60_726b_9dab_0df4);
}

/// That a count of `KEYS` trials of probability `p` is within three standard deviations.
#[track_caller]
fn check_share(count: u32, p: f64, what: &str) {
    let n = f64::from(KEYS);
    let sigma = (n * p * (1.0 - p)).sqrt();
    let off = (f64::from(count) - n * p) / sigma;
    assert!(off.abs() <= 3.0, "{what}: {count} of {KEYS} at {p}, {off} σ off");
}

#[test]
fn sticky_draws_are_uniform() {
    let mut deviations = Vec::new();
    for salt in SALTS {
        for (shape, key) in SHAPES.iter().enumerate() {
            let draws = || (0..KEYS).map(|number| Draw::sticky(&key(number), Salt::new(salt)));
            for percent in [1, 25, 50, 90] {
                let share = FractionalPercent { numerator: percent, denominator: Denominator::Hundred };
                let count = draws().filter(|draw| share.includes(*draw)).count();
                let what = format!("salt {salt:?}, shape {shape}");
                check_share(u32::try_from(count).unwrap(), f64::from(percent) / 100.0, &what);
            }
            let mut bins = [0_u32; 100];
            for draw in draws() {
                bins[usize::try_from(draw.position(100)).unwrap()] += 1;
            }
            let expected = f64::from(KEYS) / 100.0;
            let chi: f64 = bins.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
            deviations.push((chi - 99.0) / 198_f64.sqrt());
        }
    }
    // χ² with 99 degrees of freedom: mean 99, standard deviation √198. The largest of twenty may be rarer than one alone.
    assert!(deviations.iter().all(|deviation| deviation.abs() < 4.0), "{deviations:?}");
    let count = f64::from(u32::try_from(deviations.len()).unwrap());
    assert!((deviations.iter().sum::<f64>() / count.sqrt()).abs() <= 3.0, "{deviations:?}");
}

#[test]
fn salts_are_independent() {
    let half = FractionalPercent { numerator: 50, denominator: Denominator::Hundred };
    for (index, left) in SALTS.iter().enumerate() {
        for right in &SALTS[index + 1..] {
            let both = (0..KEYS).filter(|number| {
                let key = SHAPES[1](*number);
                [left, right].iter().all(|salt| half.includes(Draw::sticky(&key, Salt::new(salt))))
            });
            check_share(u32::try_from(both.count()).unwrap(), 0.25, &format!("{left:?} and {right:?}"));
        }
    }
}

#[test]
fn a_fraction_covers_exactly_its_share() {
    let parts = |numerator, denominator| FractionalPercent { numerator, denominator };
    for denominator in [Denominator::Hundred, Denominator::TenThousand, Denominator::Million] {
        let (none, all) = (parts(0, denominator), parts(denominator.value(), denominator));
        for draw in [0, 1, u64::MAX / 2, u64::MAX].map(Draw::from_random) {
            assert!(
                !none.includes(draw) && all.includes(draw) && parts(u32::MAX, denominator).includes(draw)
            );
        }
        // One part ends at the first point that is not below 2^64 ÷ denominator.
        let end = u64::MAX / u64::from(denominator.value());
        assert!(parts(1, denominator).includes(Draw::from_random(end)));
        assert!(!parts(1, denominator).includes(Draw::from_random(end + 1)));
    }
}

#[test]
fn a_fraction_displays_as_a_percentage() {
    for (numerator, denominator, want) in [
        (25, Denominator::Hundred, "25 %"),
        (1250, Denominator::TenThousand, "12.5 %"),
        (1, Denominator::Million, "0.0001 %"),
        (1_000_000, Denominator::Million, "100 %"),
    ] {
        assert_eq!(FractionalPercent { numerator, denominator }.to_string(), want);
    }
}

#[track_caller]
fn check_split(weights: &[u64], arm: usize, first: u64, last: u64) {
    let split = Split::new(weights).unwrap();
    let at = |position: u64| {
        // The smallest point at that position.
        let point = ((u128::from(position) << 64).div_ceil(u128::from(split.total()))) as u64;
        split.pick(Draw::from_random(point))
    };
    assert_eq!((at(first), at(last)), (arm, arm), "{weights:?}");
    assert_eq!(split.start(arm), first);
    assert_eq!(last + 1 - first, weights[arm]);
}

#[test]
fn arms_have_exactly_their_weight() {
    check_split(&[1], 0, 0, 0);
    check_split(&[50, 50], 0, 0, 49);
    check_split(&[50, 50], 1, 50, 99);
    check_split(&[0, 7, 0, 0, 3, 0], 1, 0, 6);
    check_split(&[0, 7, 0, 0, 3, 0], 4, 7, 9);
    check_split(&[1, 999_999], 0, 0, 0);
    check_split(&[1, 999_999], 1, 1, 999_999);
    check_split(&[1, u64::from(u32::MAX) - 1], 1, 1, u64::from(u32::MAX) - 1);
    check_split(&[u64::from(u32::MAX)], 0, 0, u64::from(u32::MAX) - 1);
    for weights in [&[][..], &[0, 0], &[u64::from(u32::MAX), 1], &[u64::MAX, 1]] {
        assert_eq!(Split::new(weights), None, "{weights:?}");
    }
    assert_eq!(Split::new(&[3, 4]).unwrap().start(9), 7);
}

#[test]
fn one_in_a_million_is_drawn() {
    let share = FractionalPercent { numerator: 1, denominator: Denominator::Million };
    let split = Split::new(&[1, 999_999]).unwrap();
    let salt = Salt::new("rare");
    let mut drawn = (0..3_000_000_u32).filter(|number| {
        let draw = Draw::sticky(&number.to_le_bytes(), salt);
        assert_eq!(share.includes(draw), split.pick(draw) == 0);
        share.includes(draw)
    });
    assert!(drawn.next().is_some());
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use proptest::prelude::*;

    fn denominators() -> impl Strategy<Value = Denominator> {
        prop_oneof![Just(Denominator::Hundred), Just(Denominator::TenThousand), Just(Denominator::Million)]
    }

    fn weights() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0..1_000_000_u64, 1..8)
    }

    proptest! {
        #[test]
        fn a_growing_fraction_loses_nobody(
            bits: u64, small in 0..=1_000_000_u32, more: u32, before in denominators(), after in denominators(),
        ) {
            let small = small.min(before.value());
            // The larger one may be written in other parts.
            let least = (u64::from(small) * u64::from(after.value())).div_ceil(u64::from(before.value()));
            let large = u32::try_from(least).unwrap().saturating_add(more);
            let draw = Draw::from_random(bits);
            let included = FractionalPercent { numerator: small, denominator: before }.includes(draw);
            let grown = FractionalPercent { numerator: large, denominator: after };
            prop_assert!(!included || grown.includes(draw));
        }

        #[test]
        fn a_growing_arm_keeps_everybody_and_draws_the_others_nearer(
            bits: u64, weights in weights(), arm: prop::sample::Index, more in 1..1_000_000_u64,
        ) {
            let arm = arm.index(weights.len());
            let mut grown = weights.clone();
            grown[arm] += more;
            let draw = Draw::from_random(bits);
            if let Some(before) = Split::new(&weights) {
                let (before, after) = (before.pick(draw), Split::new(&grown).unwrap().pick(draw));
                prop_assert!(before.min(arm) <= after && after <= before.max(arm), "{before} → {after}");
            }
        }

        #[test]
        fn taking_from_a_later_arm_moves_nobody_to_a_later_one(
            bits: u64, weights in weights(), arm: prop::sample::Index, later: prop::sample::Index, moved: u64,
        ) {
            let (arm, later) = (arm.index(weights.len()), later.index(weights.len()));
            let (arm, later) = (arm.min(later), arm.max(later));
            let mut after = weights.clone();
            let moved = moved % (after[later] + 1);
            after[later] -= moved;
            after[arm] += moved;
            let draw = Draw::from_random(bits);
            if let Some(before) = Split::new(&weights) {
                prop_assert!(Split::new(&after).unwrap().pick(draw) <= before.pick(draw));
            }
        }

        #[test]
        fn a_position_is_the_floor(bits: u64, total: u64) {
            let want = (u128::from(bits) * u128::from(total)) >> 64;
            prop_assert_eq!(u128::from(Draw::from_random(bits).position(total)), want);
        }

        #[test]
        fn arms_of_weight_zero_are_never_picked(bits: u64, weights in prop::collection::vec(0..3_u64, 1..8)) {
            if let Some(split) = Split::new(&weights) {
                prop_assert_ne!(weights[split.pick(Draw::from_random(bits))], 0);
            }
        }
    }
}
