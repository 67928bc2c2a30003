//! What a commit sets going. Nothing here runs before its cause is durable.

use std::sync::Arc;

use schema::ids::{BillId, TenantId};
use schema::mobile::Bell;
use schema::seal::Lookup;
use tokio::sync::{Notify, mpsc};

use super::perform::Performer;
use crate::journey::Ground;
use crate::journey::desk::{Aftermath, Start};

/// Receives what the desk committed, in commit order, until the desk ends.
pub async fn run(
    ground: Arc<Ground>,
    performer: Arc<Performer>,
    mut commits: mpsc::UnboundedReceiver<Aftermath>,
    records: Arc<Notify>,
    seen: impl Fn(&Aftermath),
) {
    while let Some(aftermath) = commits.recv().await {
        seen(&aftermath);
        // Before anybody is rung.
        for order in &aftermath.orders {
            ground.left(order);
        }
        for (tenant, order, price, lines) in aftermath.priced {
            ground.priced(tenant, order, price, lines);
        }
        for (tenant, setl_id, reply) in aftermath.replied {
            ground.replied(tenant, setl_id, reply);
        }
        for Start { due, order, since } in aftermath.start {
            performer.start(due, Some(order), since);
        }
        for (tenant, user, bell) in aftermath.bells {
            ground.ephemeral.ring(tenant, user, bell);
        }
        // Beside the next commits: nobody's action waits until somebody's phones are found.
        for (tenant, bill_id, patient) in aftermath.bills {
            tokio::spawn(ring_for_bill(Arc::clone(&ground), tenant, bill_id, patient));
        }
        if aftermath.records {
            records.notify_one();
        }
    }
}

/// A phone that misses its bell sees the bill when it next looks.
async fn ring_for_bill(ground: Arc<Ground>, tenant: TenantId, bill_id: BillId, patient: Lookup) {
    let watchers = ground.watchers(tenant, patient).await;
    for user in watchers.unwrap_or_default() {
        ground.ephemeral.ring(tenant, user, Bell::Bill { bill_id });
    }
}
