//! Many payments at once.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::plan::{CITIES, CityPlan};
use super::town::{City, lock};
use crate::people::payment::{Ended, Member};
use crate::people::story::{Story, TWISTS_PERCENT, Twist};

/// One payment to be lived: where, and how.
struct Cast {
    city: &'static CityPlan,
    institution: &'static str,
    story: Story,
}

impl City {
    /// Runs `count` payments, `options.concurrency` at a time, and tells of each as it ends. Returns when the last one
    /// has ended or its person gave up. Waits for people when all of them are busy. Can be called again and
    /// concurrently with kills and restarts.
    pub async fn pay(&self, count: u32, told: impl Fn(&Ended)) {
        let cast = tokio::sync::Mutex::new(count);
        let told = &told;
        let crew = (0..self.options.concurrency.max(1)).map(|_| async {
            loop {
                // A second bill of the same person is a payment of its own, so the last one cannot have two.
                let next = {
                    let mut left = cast.lock().await;
                    let next = self.roll(*left);
                    if let Some(next) = &next {
                        *left -= if next.story.twist == Twist::TwoBills { 2 } else { 1 };
                    }
                    next
                };
                let Some(next) = next else { return };
                for ended in self.live(next).await {
                    told(&ended);
                    lock(&self.ended).push(ended);
                }
            }
        });
        futures_util::future::join_all(crew).await;
    }

    /// The next payment out of the seed; `None` when none is left.
    fn roll(&self, left: u32) -> Option<Cast> {
        if left == 0 {
            return None;
        }
        let mut rolled = lock(&self.rolled);
        *rolled += 1;
        let mut dice = ChaCha8Rng::seed_from_u64(self.options.seed.wrapping_mul(1_000_003).wrapping_add(*rolled));
        let hospitals: Vec<(&CityPlan, &str)> =
            CITIES.iter().flat_map(|city| city.hospitals.iter().map(move |hospital| (city, hospital.code))).collect();
        let (city, institution) = hospitals[dice.random_range(0..hospitals.len())];
        let percent = if self.options.plain { 0 } else { TWISTS_PERCENT };
        let mut story = Story::roll(&mut dice, percent);
        if left == 1 && story.twist == Twist::TwoBills {
            story.twist = Twist::None;
        }
        Some(Cast { city, institution, story })
    }

    async fn live(&self, cast: Cast) -> Vec<Ended> {
        let member = self.take_member(cast.city.admdvs).await;
        let ended = member.live(&cast.story, cast.institution, &self.outside, self.profile.person()).await;
        lock(&self.free).entry(cast.city.admdvs.to_owned()).or_default().push_back(member);
        self.freed.notify_waiters();
        ended
    }

    /// Somebody who is free: each person lives one story at a time.
    async fn take_member(&self, admdvs: &str) -> Arc<Member> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, so that nobody who becomes free in between is slept over.
            freed.as_mut().enable();
            if let Some(member) = lock(&self.free).get_mut(admdvs).and_then(std::collections::VecDeque::pop_front) {
                return member;
            }
            freed.await;
        }
    }

    /// Every payment that has ended so far.
    pub fn ended(&self) -> Vec<Ended> {
        lock(&self.ended).clone()
    }
}
