alter table class_sessions
    drop constraint class_sessions_share_no_room,
    drop constraint class_sessions_share_no_instructor;
drop function room_of(text);

drop extension btree_gist;
