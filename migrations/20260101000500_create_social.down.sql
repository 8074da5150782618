drop table student_achievements;
drop table achievements;
drop table gold_transactions;
drop table gold_accounts;
