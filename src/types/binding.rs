//! State that a provider keeps, as far as a request names it.

/// What binds a request to the account that holds its state, and to a single attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Ids of state at a provider that the request names: files, responses, conversations, containers. Only the account that
    /// made them can serve it.
    pub ids: Vec<String>,
    /// False if the request must not be sent again, or to two deployments, once it was sent: it runs or stores something
    /// there.
    pub repeatable: bool,
    /// Ids of encrypted reasoning. It is in the request, but only the organisation that made it can decrypt it.
    pub sealed: Vec<String>,
}

impl Default for Binding {
    fn default() -> Self {
        Self { ids: Vec::new(), repeatable: true, sealed: Vec::new() }
    }
}
