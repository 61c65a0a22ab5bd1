"""The seed's paths and the tests that show them, and the same for those that are ours."""

import ast
from pathlib import Path

import pytest

from gateway.routes import API

HERE = Path(__file__).parent

SEED: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/auth/connect"): (
        "test_auth.test_connect_opens_a_session_and_verify_confirms_it",
        "test_auth.test_connect_fifty_times_at_once_opens_one_session",
        "test_auth.test_connect_refuses_a_message_not_meant_for_us",
        "test_auth.test_connect_with_anothers_signature_is_unauthorized",
    ),
    ("POST", "/auth/verify"): (
        "test_auth.test_connect_opens_a_session_and_verify_confirms_it",
        "test_auth.test_verify_without_or_with_a_broken_token_is_unauthorized",
    ),
    ("POST", "/tokens/create"): (
        "test_tokens.test_create_gives_address_hash_salt_transaction_and_quote",
        "test_tokens.test_create_refuses_bad_fields_by_name",
        "test_tokens.test_create_without_login_is_unauthorized",
    ),
    ("GET", "/tokens"): (
        "test_tokens.test_list_joins_history_with_live_prices_in_one_call",
        "test_tokens.test_list_hands_the_seeds_query_to_history",
        "test_tokens.test_list_refuses_a_bad_query",
        "test_tokens.test_list_shows_no_old_price_for_a_market_that_cannot_answer",
    ),
    ("GET", "/tokens/{address}"): (
        "test_tokens.test_one_shows_the_token_with_its_document",
        "test_tokens.test_one_unknown_halted_and_misspelt_have_their_codes",
    ),
    ("GET", "/tokens/{address}/chart"): (
        "test_tokens.test_chart_fills_empty_steps_with_the_close",
        "test_tokens.test_chart_takes_the_seeds_timeframes_within_1500_points",
    ),
    ("GET", "/tokens/{address}/transactions"): (
        "test_tokens.test_transactions_page_by_number_or_cursor",
    ),
    ("POST", "/trading/buy"): (
        "test_trading.test_buy_gives_the_transaction_that_its_quote_describes",
        "test_trading.test_trades_want_a_login_and_exactly_one_amount",
    ),
    ("POST", "/trading/sell"): (
        "test_trading.test_sell_and_exact_out_choose_their_call",
        "test_trading.test_sell_of_more_than_was_sold_is_exceeds_sold",
    ),
    ("POST", "/trading/quote"): (
        "test_trading.test_quote_of_a_buy_has_every_field_and_the_curves_amounts",
        "test_trading.test_quote_touches_no_store_and_no_node",
        "test_trading.test_quote_refusals_become_their_status",
        "test_bad_input.test_any_amount_gives_an_answer_with_a_known_code",
        "test_realtime.test_quote_is_the_rest_envelope",
    ),
    ("GET", "/trading/portfolio/{address}"): (
        "test_trading.test_portfolio_values_holdings_at_live_prices",
    ),
    ("GET", "/analytics/overview"): ("test_analytics.test_overview_counts_what_was_recorded",),
    ("GET", "/analytics/trending"): (
        "test_analytics.test_trending_creators_and_leaders_are_ranked",
    ),
    ("GET", "/analytics/top-creators"): (
        "test_analytics.test_trending_creators_and_leaders_are_ranked",
    ),
    ("POST", "/bridge/deposit"): (
        "test_bridge.test_transfer_asked_for_signed_and_sent_is_paid_once_and_shown_step_by_step",
        "test_bridge.test_request_with_one_key_is_one_transfer_also_without_the_kept_answer",
        "test_bridge.test_request_that_the_vault_would_refuse_is_refused_by_code",
        "test_bridge.test_request_without_relayer_or_login_is_refused",
        "test_bridge.test_bridge_that_is_off_says_so_on_every_route",
    ),
    ("POST", "/bridge/withdraw"): (
        "test_bridge.test_transfer_asked_for_signed_and_sent_is_paid_once_and_shown_step_by_step",
        "test_bridge.test_bridge_that_is_off_says_so_on_every_route",
    ),
    ("GET", "/bridge/status/{id}"): (
        "test_bridge.test_transfer_asked_for_signed_and_sent_is_paid_once_and_shown_step_by_step",
        "test_bridge.test_status_of_an_unknown_or_misspelt_id_has_its_code",
        "test_bridge.test_bridge_that_is_off_says_so_on_every_route",
    ),
    ("GET", "/bridge/history/{address}"): (
        "test_bridge.test_history_is_paged_by_number_and_cursor_newest_first",
        "test_bridge.test_bridge_that_is_off_says_so_on_every_route",
    ),
}

# Ours beside the seed's: what a wallet that signs for itself needs, and configuration.
OURS: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/auth/nonce"): ("test_auth.test_nonce_says_what_the_message_must_say",),
    ("POST", "/auth/refresh"): (
        "test_sessions.test_refresh_gives_new_tokens_and_shapes_hold",
        "test_sessions.test_refresh_token_used_again_ends_the_session",
        "test_sessions.test_refresh_of_a_made_up_token_ends_nothing",
    ),
    ("POST", "/auth/logout"): ("test_sessions.test_logout_ends_this_session_and_everywhere_all",),
    ("GET", "/auth/sessions"): ("test_sessions.test_sessions_are_listed_and_ended_one_by_one",),
    ("DELETE", "/auth/sessions/{sid}"): (
        "test_sessions.test_sessions_are_listed_and_ended_one_by_one",
    ),
    ("GET", "/users/me"): (
        "test_sessions.test_user_sees_and_changes_himself_strangers_his_profile",
    ),
    ("PATCH", "/users/me"): (
        "test_sessions.test_user_sees_and_changes_himself_strangers_his_profile",
        "test_sessions.test_user_change_that_is_none_of_his_business_is_refused",
    ),
    ("GET", "/users/{address}"): (
        "test_sessions.test_user_sees_and_changes_himself_strangers_his_profile",
    ),
    ("PUT", "/admin/users/{address}/role"): (
        "test_sessions.test_admin_gives_a_role_and_it_stands_in_the_log",
        "test_sessions.test_admin_role_needs_a_user_and_a_known_role",
    ),
    ("POST", "/admin/users/{address}/logout"): (
        "test_sessions.test_admin_logs_a_wallet_out_and_pages_through_the_log",
    ),
    ("GET", "/admin/audit"): (
        "test_sessions.test_admin_gives_a_role_and_it_stands_in_the_log",
        "test_sessions.test_admin_logs_a_wallet_out_and_pages_through_the_log",
    ),
    ("GET", "/admin/bridge/stuck"): (
        "test_bridge.test_stuck_transfer_is_listed_retried_and_both_deeds_stand_in_the_log",
    ),
    ("POST", "/admin/bridge/{id}/retry"): (
        "test_bridge.test_stuck_transfer_is_listed_retried_and_both_deeds_stand_in_the_log",
    ),
    ("POST", "/admin/bridge/pause"): (
        "test_bridge.test_pause_holds_both_vaults_at_once_and_the_doors_say_so",
    ),
    ("POST", "/trading/submit"): (
        "test_trading.test_submit_mined_answers_confirmed_with_its_fill",
        "test_trading.test_submit_twice_sends_and_writes_once",
        "test_trading.test_submit_of_foreign_or_broken_transactions_is_refused",
    ),
    ("GET", "/trading/tx/{hash}"): (
        "test_trading.test_submit_not_mined_is_202_then_told_by_tx",
        "test_trading.test_tx_recorded_comes_from_history",
    ),
    ("POST", "/keys"): ("test_keys.test_key_is_shown_once_and_speaks_for_its_owner",),
    ("GET", "/keys"): ("test_keys.test_key_is_shown_once_and_speaks_for_its_owner",),
    ("DELETE", "/keys/{id}"): ("test_keys.test_key_that_was_ended_or_expired_is_refused",),
    ("GET", "/referral"): ("test_points.test_referral_shows_code_referrer_and_what_is_owed",),
    ("POST", "/referral/code"): (
        "test_points.test_code_is_chosen_or_made_once_and_never_anothers",
    ),
    ("POST", "/referral/bind"): (
        "test_points.test_referrer_is_said_once_and_joined_before",
        "test_points.test_two_that_name_each_other_at_once_make_no_circle",
    ),
    ("GET", "/referral/tree"): ("test_points.test_referral_shows_code_referrer_and_what_is_owed",),
    ("GET", "/referral/earnings"): (
        "test_points.test_referral_shows_code_referrer_and_what_is_owed",
    ),
    ("GET", "/referral/{code}"): (
        "test_points.test_code_is_chosen_or_made_once_and_never_anothers",
    ),
    ("GET", "/points/leaderboard"): ("test_points.test_points_of_counted_deeds_are_shown",),
    ("GET", "/points/ledger"): (
        "test_points.test_points_of_counted_deeds_are_shown",
        "test_points.test_anybody_can_recompute_the_hash_of_a_wallets_rows",
    ),
    ("GET", "/points/roots"): (
        "test_points.test_anybody_can_recompute_the_hash_of_a_wallets_rows",
    ),
    ("GET", "/points/rules"): ("test_points.test_rules_are_shown_as_data",),
    ("GET", "/points/proof/{address}"): (
        "test_points.test_anybody_can_recompute_the_hash_of_a_wallets_rows",
    ),
    ("GET", "/points/{address}"): ("test_points.test_points_of_counted_deeds_are_shown",),
    ("PUT", "/tokens/{address}/metadata"): (
        "test_documents.test_document_posted_late_is_taken_from_anybody_by_its_hash",
        "test_documents.test_document_that_is_not_the_tokens_is_refused",
    ),
    ("POST", "/uploads/image"): (
        "test_uploads.test_image_is_written_anew_and_served_for_ever",
        "test_uploads.test_image_that_is_none_or_a_bomb_is_invalid_image",
        "test_uploads.test_body_over_the_bound_is_too_large_however_it_comes",
        "test_uploads.test_uploads_have_a_budget_of_their_own",
    ),
    ("GET", "/tokens/{address}/holders"): (
        "test_analytics.test_holders_have_their_share_and_first_buy",
    ),
    ("GET", "/creators/{address}/tokens"): (
        "test_analytics.test_trades_and_a_creators_tokens_are_paged",
    ),
    ("GET", "/trades"): ("test_analytics.test_trades_and_a_creators_tokens_are_paged",),
    ("GET", "/analytics/king-of-the-hill"): (
        "test_analytics.test_trending_creators_and_leaders_are_ranked",
    ),
    ("GET", "/analytics/leaderboard"): (
        "test_analytics.test_trending_creators_and_leaders_are_ranked",
    ),
    ("GET", "/config"): ("test_system.test_config_names_chains_contracts_and_limits",),
}

# The seed's WebSocketHandler.
_PUSHES = "test_realtime.test_subscribe_gives_a_snapshot_then_every_message_in_order"
_STOCK = "test_stock_client_connects_quotes_subscribes_and_receives"
REALTIME = {
    "broadcastPriceUpdate": f"test_socketio_client.{_STOCK}",
    "broadcastTransaction": _PUSHES,
    "broadcastGraduation": _PUSHES,
}


def test_table_has_every_route_and_every_route_is_in_it() -> None:
    assert {(route.method, route.path) for route in API} == SEED.keys() | OURS.keys()


@pytest.mark.parametrize(
    "name",
    sorted({name for names in (SEED | OURS).values() for name in names} | {*REALTIME.values()}),
)
def test_table_names_tests_that_exist(name: str) -> None:
    module, function = name.split(".")
    tree = ast.parse((HERE / f"{module}.py").read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    assert function in found
