"""How near forecasts come to what the closed loop then takes, over recorded loads."""
