"""The loop every game runs, for one lane at a time: a template, instantiated once a game by `pvg.engine`.

The names in capitals (the table as arrays) and the rules `sample`, `deal`, `after`, `pay`, `evidence`, and the generated
`clear_lane`, `statement_hash`, `observe_lane`, `speak` are bound when the template is instantiated, which is why nothing
here imports them and no type checker reads this file. Functions called `..._at` become kernels over all lanes: `state`
holds the records, `i` is the lane, and a lane touches only row i of any array.
"""

OVER = -1
SAMPLE, DEAL, AFTER, SPEAK = 0, 1, 2, 3  # who draws; roles draw as SPEAK + role


@lane
def begin(s, who):
    """Name the stream the next draws come from: a dishonest prover's draws never shift the verifier's coins."""
    s.coins = mix(mix(s.key + np.uint64(s.episode) * GOLDEN) + np.uint64((np.int64(s.elapsed) << 8) | who))


@lane
def acting(s, role):
    """Whether a role is to speak now."""
    if s.turn < 0:
        return False
    for row in range(FIRST_ROW[s.turn], FIRST_ROW[s.turn + 1]):
        if speaker_of(s, row) == role:
            return True
    return False


@lane
def speaker_of(s, row):
    return SPEAKER[row] if SPEAKER[row] >= 0 else np.int64(s.speaker)


@lane
def deal_lane(s, tables):
    """Deal the lane's next game. A statement outside the split is drawn again from the same stream, at most 4096 times."""
    s.episode += np.uint32(1)
    s.elapsed = 0
    begin(s, SAMPLE)
    for _ in range(4096):
        clear_lane(s)
        sample(s, tables)
        if WHOLE or BUCKET_LOW <= statement_hash(s) % np.uint64(10) < BUCKET_HIGH:
            break
    s.turn = 0
    begin(s, DEAL)
    deal(s, tables)


@lane
def step_lane(s, tables, mail):
    """Say what the speakers of this turn say, move on, pay. Symbols outside the alphabet forfeit the game."""
    for role in range(ROLES):
        mail.reward[role] = 0
    if s.turn < 0:
        return
    for row in range(FIRST_ROW[s.turn], FIRST_ROW[s.turn + 1]):
        role = speaker_of(s, row)
        for j in range(WIDTH[row]):
            if mail.act[role, j] < 0 or mail.act[role, j] >= ALPHABET[row, j]:
                s.forfeit = role if s.forfeit < 0 else s.forfeit
                mail.reward[role] = MINIMUM[role]
    s.elapsed += np.uint16(1)
    if s.forfeit >= 0:
        s.turn = OVER
        return
    begin(s, AFTER)
    for row in range(FIRST_ROW[s.turn], FIRST_ROW[s.turn + 1]):
        role = speaker_of(s, row)
        if SLOT[row] < 0:
            s.verdict = mail.act[role, 0]
        else:
            for j in range(WIDTH[row]):
                s.said[SLOT[row], j] = mail.act[role, j]
            if OF_PROOF[row]:
                evidence(s, tables, SLOT[row])
    turn = after(s, tables)
    s.turn = turn if 0 <= turn < TURNS and s.elapsed < HORIZON else OVER
    pay(s, tables, mail.reward)


@lane
def deal_at(i, state, tables, mask):
    if mask[i]:
        deal_lane(state[i], tables[0])


@lane
def step_at(i, state, tables, mail, hold):
    if hold[i]:
        for role in range(ROLES):
            mail[i].reward[role] = 0
    else:
        step_lane(state[i], tables[0], mail[i])


@lane
def speak_at(i, state, tables, mail, hold):
    """Every scripted player that is to speak writes its symbols into its row of `mail`."""
    if not hold[i]:
        for role in range(ROLES):
            if acting(state[i], role):
                speak(state[i], tables[0], role, mail[i].act[role])


@lane
def run_at(i, state, tables, mail, hold, seat, given):
    """Play on until `seat` is to speak or the game is over; with `given`, its symbols for this turn are in `mail`.
    Rewards add up in `returns`.
    """
    for role in range(ROLES):
        mail[i].returns[role] = 0
    pending = given
    while state[i].turn >= 0 and not hold[i]:
        if acting(state[i], seat):
            if not pending:
                break
            pending = False
        for role in range(ROLES):
            if role != seat and acting(state[i], role):
                speak(state[i], tables[0], role, mail[i].act[role])
        step_lane(state[i], tables[0], mail[i])
        for role in range(ROLES):
            mail[i].returns[role] += mail[i].reward[role]


@lane
def observe_at(i, state, role, seen):
    observe_lane(state[i], role, seen[i])


@lane
def hash_at(i, state, hashes):
    hashes[i] = statement_hash(state[i])
