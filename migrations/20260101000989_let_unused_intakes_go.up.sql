-- Why:   an offering that is typed into a wrong year makes that year's intake; when the offering was put right, the intake stayed
--        for everybody to choose. One that was made for an offering goes when no offering is left in it.
-- Locks: intakes, for an instant; they are few.
-- Order: before the release.
-- Undo:  the down file.

alter table intakes
    add column made_for_offering boolean not null default false;
