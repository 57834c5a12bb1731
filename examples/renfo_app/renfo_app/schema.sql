-- Applied by `python3 -m renfo_app.schema`. Only ever add: every statement must be safe to repeat,
-- and the previous release must still work on the result (replicas are updated one by one).

CREATE TABLE IF NOT EXISTS sessions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text NOT NULL UNIQUE CHECK (length(key) BETWEEN 1 AND 200),
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    created_at timestamptz NOT NULL DEFAULT now(),
    replica    text NOT NULL
);

CREATE INDEX IF NOT EXISTS sessions_created_at ON sessions (created_at);

CREATE TABLE IF NOT EXISTS videos (
    id           uuid PRIMARY KEY,
    title        text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    filename     text NOT NULL,
    content_type text NOT NULL,
    size         bigint NOT NULL CHECK (size > 0),
    sha256       text NOT NULL CHECK (length(sha256) = 64),
    created_at   timestamptz NOT NULL DEFAULT now(),
    replica      text NOT NULL
);

CREATE INDEX IF NOT EXISTS videos_created_at ON videos (created_at);
