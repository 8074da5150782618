-- Why:   an active account that can manage accounts must remain, whoever writes what at the same time; else only a shell brings
--        one back. Such an account is an administrator by its type or flag, or has `users.manage` and `roles.manage` by roles
--        that do not end.
-- Locks: none that matter, triggers and functions are new.
-- Order: before or after the release that says why it refuses.
-- Undo:  the down file drops them.

-- Whether roles let somebody manage accounts for good; `beside` are permissions that a role had until now.
create function manages_by_roles(person bigint, beside text[])
returns boolean
language sql
stable
as $$
    select codes && array['users.manage', 'users.manage:all'] and codes && array['roles.manage', 'roles.manage:all']
      from (select coalesce(array_agg(code), '{}') || beside as codes
              from user_roles ur
              join roles r on r.id = ur.role_id
             cross join unnest(r.permissions) code
             where ur.user_id = person
               and ur.deleted_at is null
               and ur.valid_until is null
               and (ur.valid_from is null or ur.valid_from <= rule_now())
               and r.deleted_at is null) held
$$;

-- One at a time: of two who demote each other the second finds nobody left.
create function refuse_without_administrator()
returns void
language plpgsql
as $$
begin
    perform pg_advisory_xact_lock(7092);
    if not exists (select from users where is_active and user_type = 'admin')
       and not exists (select from users where is_active and is_superuser)
       and not exists (select
                         from users u
                        where u.is_active
                          and u.id in (select user_id from user_roles where deleted_at is null and valid_until is null)
                          and manages_by_roles(u.id, '{}')) then
        raise exception 'nobody could manage accounts any more'
            using errcode = 'check_violation', constraint = 'users_keep_an_administrator';
    end if;
end
$$;

create function keep_an_administrator_among_users()
returns trigger
language plpgsql
as $$
begin
    if old.user_type = 'admin' or old.is_superuser or manages_by_roles(old.id, '{}') then
        perform refuse_without_administrator();
    end if;
    return null;
end
$$;

create trigger users_keep_an_administrator
    after update of user_type, is_superuser, is_active on users
    for each row
    when (old.is_active
          and (new.user_type is distinct from old.user_type
               or new.is_superuser is distinct from old.is_superuser
               or not new.is_active))
    execute function keep_an_administrator_among_users();

create function keep_an_administrator_among_roles()
returns trigger
language plpgsql
as $$
begin
    if old.permissions && array['users.manage', 'users.manage:all', 'roles.manage', 'roles.manage:all']
       and exists (select
                     from user_roles ur
                     join users u on u.id = ur.user_id
                    where ur.role_id = old.id
                      and ur.deleted_at is null
                      and ur.valid_until is null
                      and u.is_active
                      and manages_by_roles(u.id, old.permissions)) then
        perform refuse_without_administrator();
    end if;
    return null;
end
$$;

create trigger roles_keep_an_administrator
    after update of permissions, deleted_at on roles
    for each row
    when (old.deleted_at is null
          and (new.permissions is distinct from old.permissions or new.deleted_at is not null))
    execute function keep_an_administrator_among_roles();

create function keep_an_administrator_among_holders()
returns trigger
language plpgsql
as $$
begin
    if exists (select
                 from users u
                where u.id = old.user_id
                  and u.is_active
                  and manages_by_roles(u.id, (select permissions from roles where id = old.role_id and deleted_at is null))) then
        perform refuse_without_administrator();
    end if;
    return null;
end
$$;

create trigger user_roles_keep_an_administrator
    after update or delete on user_roles
    for each row
    when (old.deleted_at is null and old.valid_until is null)
    execute function keep_an_administrator_among_holders();
