//! Operators: the people and programs that administer the server.

use crate::{Registry, control::ControlEvent, opening::mint_operator, record};
use access::{Operator, OperatorRecord};
use kernel::{Code, Error, KeyId, OperatorName, Result, Role, Timestamp, limits};
use std::sync::Arc;
use zeroize::Zeroizing;

/// An operator as operators see it.
#[derive(Clone, Debug)]
pub struct OperatorView {
    /// Public part of the token.
    pub id: KeyId,
    /// Name of the operator.
    pub name: OperatorName,
    /// Role, which says what the operator may do.
    pub role: Role,
    /// When it was created.
    pub created_at: Timestamp,
}

impl From<&OperatorRecord> for OperatorView {
    fn from(record: &OperatorRecord) -> Self {
        Self { id: record.id.clone(), name: record.name.clone(), role: record.role, created_at: record.created_at }
    }
}

impl Registry {
    /// Creates an operator. The token is shown once.
    ///
    /// # Errors
    /// `already_exists` for a name that is taken; `quota_exceeded` when there are too many.
    pub async fn create_operator(
        &self,
        _: &Operator,
        name: OperatorName,
        role: Role,
    ) -> Result<(OperatorView, Zeroizing<String>)> {
        let (made, full_token) = mint_operator(&self.inner.env, self.inner.control.keyspace(), name, role);
        let made = record::StoredOperator(Arc::new(made));
        self.inner
            .write(|state| {
                if state.operators.values().any(|o| o.0.name == made.0.name) {
                    let error = Error::new(Code::AlreadyExists, "an operator of this name exists");
                    return Err(error.with_param("name").into());
                }
                if state.operators.len() >= limits::OPERATORS_MAX || state.operators.contains_key(&made.0.id) {
                    return Err(Error::new(Code::QuotaExceeded, "there may be at most 1000 operators").into());
                }
                Ok((Some(ControlEvent::OperatorPut(made.clone())), ()))
            })
            .await?;
        Ok((OperatorView::from(&*made.0), full_token))
    }

    /// Returns all operators, by the public part of their tokens. There are few.
    pub fn operators(&self, _: &Operator) -> Vec<OperatorView> {
        self.inner.control.read(|s| s.operators.values().map(|o| OperatorView::from(&*o.0)).collect())
    }

    /// Revokes an operator's token at once.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for the last admin, without whom no one could administer the server.
    pub async fn revoke_operator(&self, _: &Operator, id: &KeyId) -> Result<()> {
        self.inner
            .write(|state| {
                let operator = state.operators.get(id).ok_or_else(Error::not_found)?;
                let admins = state.operators.values().filter(|o| o.0.role == Role::Admin).count();
                if operator.0.role == Role::Admin && admins == 1 {
                    let why = "the last admin cannot be revoked; create another one first";
                    return Err(Error::invalid("id", why).into());
                }
                Ok((Some(ControlEvent::OperatorRemoved { id: id.clone() }), ()))
            })
            .await?;
        Ok(())
    }
}
