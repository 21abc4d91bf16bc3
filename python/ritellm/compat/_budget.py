"""`BudgetManager`: what each user of a program may spend."""

from __future__ import annotations

import time
from typing import Any

_DAYS = {"daily": 1, "weekly": 7, "monthly": 28, "yearly": 365}


class BudgetManager:
    """Keeps what users may spend and have spent, in memory."""

    __module__ = "litellm.budget_manager"

    def __init__(
        self, project_name: str, client_type: str = "local", api_base: Any = None, headers: Any = None
    ) -> None:
        self.project_name, self.client_type = project_name, client_type
        self.user_dict: dict[str, dict[str, Any]] = {}

    def create_budget(
        self, total_budget: float, user: str, duration: str | None = None, created_at: float | None = None
    ) -> dict[str, Any]:
        created = time.time() if created_at is None else created_at
        self.user_dict[user] = {"total_budget": total_budget}
        if duration is not None:
            self.user_dict[user].update(duration=_DAYS[duration], created_at=created, last_updated_at=created)
        return self.user_dict[user]

    def update_cost(
        self,
        user: str,
        completion_obj: Any = None,
        model: str | None = None,
        input_text: str | None = None,
        output_text: str | None = None,
    ) -> dict[str, Any]:
        from ritellm.compat import _costs

        if completion_obj is not None:
            cost = _costs.completion_cost(completion_response=completion_obj)
            model = completion_obj["model"]
        else:
            cost = _costs.completion_cost(model=model, prompt=input_text or "", completion=output_text or "")
        entry = self.user_dict[user]
        entry["current_cost"] = entry.get("current_cost", 0) + cost
        costs = entry.setdefault("model_cost", {})
        costs[model] = costs.get(model, 0) + cost
        return {"user": entry}

    def projected_cost(self, model: str, messages: Any, user: str) -> float:
        from ritellm.compat import _costs, _tokens

        tokens = _tokens.token_counter(model=model, messages=messages)
        prompt, _ = _costs.cost_per_token(model=model, prompt_tokens=tokens, completion_tokens=0)
        return self.user_dict[user].get("current_cost", 0) + prompt  # type: ignore[no-any-return]

    def get_total_budget(self, user: str) -> float:
        return self.user_dict[user]["total_budget"]  # type: ignore[no-any-return]

    def get_current_cost(self, user: str) -> float:
        return self.user_dict[user].get("current_cost", 0)  # type: ignore[no-any-return]

    def get_model_cost(self, user: str) -> Any:
        return self.user_dict[user].get("model_cost", 0)

    def is_valid_user(self, user: str) -> bool:
        return user in self.user_dict

    def get_users(self) -> list[str]:
        return list(self.user_dict)

    def reset_cost(self, user: str) -> dict[str, Any]:
        self.user_dict[user].update(current_cost=0, model_cost={})
        return {"user": self.user_dict[user]}

    def save_data(self) -> dict[str, str]:
        return {"status": "success"}
