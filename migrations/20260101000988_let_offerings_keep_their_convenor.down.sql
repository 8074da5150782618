drop trigger units_hand_over_offerings on units;
drop function hand_over_offerings();
drop trigger offerings_take_convenor_of_unit on offerings;
drop function take_convenor_of_unit();
alter table offerings drop column convenor_id;
