//! Usage and cost in the record of a call.

use super::call::Call;
use super::codec::unix_seconds;
use crate::catalog::Catalog;
use crate::types::answer::Meta;
use crate::types::usage::Usage;

/// Writes the usage and the cost of a call into its record.
pub(super) fn price(catalog: &Catalog, call: &Call, usage: Option<Usage>, meta: &mut Meta) {
    let deployment = &call.deployment;
    let cost = || {
        let model = catalog.find(deployment.provider.row().name, &deployment.model)?;
        model.cost(&usage?, unix_seconds())
    };
    let cost = cost();
    let record = meta.record.get_or_insert_default();
    (record.usage, record.cost) = (usage, cost);
}
