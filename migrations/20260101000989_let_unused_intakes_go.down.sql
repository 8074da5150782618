alter table intakes drop column made_for_offering;
