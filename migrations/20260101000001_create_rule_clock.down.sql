drop function rule_now();
