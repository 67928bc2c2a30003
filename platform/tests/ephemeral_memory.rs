//! Ephemeral state in this process keeps the contract.

mod ephemeral_contract;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ephemeral_contract::Engine;
use platform::clock::SetClock;
use platform::ephemeral::Ephemeral;
use platform::ephemeral::memory::Memory;

struct InProcess {
    clock: Arc<SetClock>,
    process: Mutex<Arc<Memory>>,
}

impl InProcess {
    fn new() -> InProcess {
        let clock = SetClock::new(1_767_225_600_000_000, 1);
        let process = Mutex::new(Arc::new(Memory::new(clock.clone())));
        InProcess { clock, process }
    }
}

#[async_trait]
impl Engine for InProcess {
    fn open(&self) -> Arc<dyn Ephemeral> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn forget_everything(&self) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Memory::new(self.clock.clone()));
    }

    async fn pass_ms(&self, ms: i64) {
        self.clock.advance_ms(ms);
    }
}

ephemeral_contract::every_promise!(InProcess::new);
