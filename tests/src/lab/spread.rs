//! Times of one thing that was done several times.

use std::fmt;
use std::time::Duration;

/// The times, as the least, the median and the most.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|other| *other <= time);
        self.0.insert(place, time);
    }

    /// The middle one; of an even number of times the mean of the two in the middle; zero of none.
    #[must_use]
    pub fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        match self.0.get(middle) {
            None => Duration::ZERO,
            Some(upper) if self.0.len().is_multiple_of(2) => (self.0[middle - 1] + *upper) / 2,
            Some(middle) => *middle,
        }
    }

    /// The least; zero of none.
    #[must_use]
    pub fn least(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    /// The most; zero of none.
    #[must_use]
    pub fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "median {}, least {}, most {} of {}",
            told(self.median()),
            told(self.least()),
            told(self.most()),
            self.0.len()
        )
    }
}

/// With three digits or so, in a unit that fits.
fn told(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{} µs", time.as_micros())
    } else {
        format!("{:.2} ms", time.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        for (millis, median_micros) in [
            (&[][..], 0),
            (&[7], 7_000),
            (&[9, 1], 5_000),
            (&[3, 1, 2], 2_000),
            (&[4, 1, 100, 3], 3_500),
        ] {
            let mut spread = Spread::default();
            for millis in millis {
                spread.add(Duration::from_millis(*millis));
            }
            assert_eq!(spread.median(), Duration::from_micros(median_micros));
        }
    }

    #[test]
    fn it_tells_the_extremes_and_how_many_there_were() {
        let mut spread = Spread::default();
        for micros in [2_500, 40, 90] {
            spread.add(Duration::from_micros(micros));
        }
        assert_eq!(
            spread.to_string(),
            "median 90 µs, least 40 µs, most 2.50 ms of 3"
        );
    }
}
