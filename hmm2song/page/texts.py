"""The page's words in English and Korean.

Conventions
-----------
* ``TEXTS[language][key]`` is plain text, never HTML: whoever puts it on the page escapes it. Both languages
  have the same keys and the same ``{placeholders}``; :func:`text` fills them in.
* Numbers are formatted here or in the text itself, so that a caller hands over plain values.
"""

from __future__ import annotations

import math

from hmm2song.match.overlay import clock, distance_st
from hmm2song.melody.melody import Melody
from hmm2song.results import Advice, Match, SearchResult

LANGUAGES = {"en": "English", "ko": "한국어"}
DEFAULT_LANGUAGE = "en"
SAME_KEY_ST = 0.5
"""Closer than half a semitone people call it the same key."""
SAME_TEMPO = 0.03
"""Tempo differences below 3 % go unnoticed."""
SEMITONES_PER_OCTAVE = 12

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "tagline": "Hum a tune, get the song.",
        "how_to": "Hum, whistle or sing “la la la” for about ten seconds: any key, any part of the song.",
        "recorder": "Your hum",
        "ready": "Press Record and start humming. The search begins when you stop.",
        "listening": "Listening… hum at least eight seconds, then press Stop.",
        "searching": "Searching…",
        "again": "Hum the same tune again, perhaps another part; all your hums will count together.",
        "gone": "Your recording has been deleted meanwhile. Please record it again.",
        "busy": "Too many people are humming right now, or the connection was lost. Please try again in a minute.",
        "fault": "The search failed because of a fault in this program. The people who run it find it in their log.",
        "insecure": (
            "This page was opened over plain http, so your browser blocks the microphone. "
            "Use https or localhost, or upload a recording instead."
        ),
        "privacy": (
            "What happens to your voice: the recording is used for this search only. It is not kept, not "
            "shared and not trained on; the temporary file is deleted after ten to twenty minutes, "
            "and no history is stored. Only the line of pitches heard in it stays in memory, so that you can "
            "hum once more; it is forgotten within an hour after you close the page."
        ),
        "examples": "Or try an example:",
        "filters": "Narrow the search",
        "genre": "Genre (none chosen: all)",
        "gender": "Singer",
        "any": "Any",
        "female": "Female",
        "male": "Male",
        "mixed": "Mixed",
        "only_known": "Only songs known to match (skip unknown genre or singer)",
        "searched_0": "No song passes the filter.",
        "searched_1": "Searched 1 song in {seconds:.1f} s.",
        "searched_n": "Searched {n:,} songs in {seconds:.1f} s.",
        "unknown": "{n:,} of them have no genre or singer on record for your filter.",
        "found": "Found: {title}, {percent}% sure",
        "no_match": "No convincing match",
        "no_match_hint": (
            "The song may not be in the catalog, or the hum was hard to follow. Hum the best-known line, "
            "clearly, for ten seconds or more."
        ),
        "nothing_left": "Nothing left to search",
        "nothing_left_hint": "No song in the catalog passes your filter. Choose another genre or singer.",
        "guesses": "Best guesses all the same",
        "results": "Results",
        "advice": "What would help",
        "advice_too_short": "Hum longer: only {value:.1f} s of melody could be heard.",
        "advice_too_quiet": "Hum louder or closer to the microphone: the recording is at {value:.0f} dB.",
        "advice_clipped": "Hum more softly or farther away: {value:.0f}% of the recording is overloaded.",
        "advice_mostly_unvoiced": "Sing “la la la”, not a whisper: only {value:.0f}% of it has a pitch.",
        "advice_noisy": "Find a quieter place or come closer: you are only {value:.1f} dB above the noise.",
        "advice_not_one_voice": (
            "Hum alone, without music or talking: only {value:.0f}% of the sound belongs to one melody."
        ),
        "elsewhere": "Outside your filter there is a good match: {title}",
        "drop_filter": "Drop the filter and show it",
        "once_more": "Hum once more",
        "joined": "{n} hums joined",
        "sure": "{percent}%",
        "position": "at {start}–{end}",
        "same_key": "in the same key as the catalog",
        "higher": "{interval} higher than the catalog",
        "lower": "{interval} lower than the catalog",
        "semitone_1": "1 semitone",
        "semitone_n": "{n} semitones",
        "octave_1": "1 octave",
        "octave_n": "{n} octaves",
        "and": "{first} and {second}",
        "same_tempo": "at the same speed",
        "faster": "{percent}% faster",
        "slower": "{percent}% slower",
        "same_tune": "same melody as no. {rank}",
        "genre_unknown": "genre unknown",
        "singer_female": "female singer",
        "singer_male": "male singer",
        "singer_mixed": "female and male singers",
        "show": "See and hear it",
        "lyrics": "Lyrics",
        "find_on": "Find it on",
        "overlay": "Your hum on the song",
        "overlay_song": "Song",
        "overlay_hum": "Your hum",
        "overlay_time": "Time in the song",
        "overlay_words": (
            "“{title}” from {start} to {end}, with your hum moved to its key and speed. "
            "You hummed {key}, {tempo}; on average you were {distance:.1f} semitones off the melody."
        ),
        "overlay_no_voice": "“{title}” from {start} to {end}: no pitch of your hum lies on this stretch.",
        "play_tone": "Hear the match (its melody as a plain tone)",
        "play_recording": "Hear the match (starts at the place)",
        "catalog": "What can I hum?",
        "catalog_search": "Search {n:,} songs by title, artist or genre",
        "catalog_none": "No song in the catalog matches “{query}”.",
        "catalog_more": "The first {shown} are shown; type to narrow the list.",
        "error": "That did not work",
    },
    "ko": {
        "tagline": "흥얼거리면 노래를 찾아 드립니다.",
        "how_to": ("10초쯤 허밍하거나 휘파람을 불거나 ‘라라라’로 불러 보세요. 음높이도, 부르는 부분도 상관없습니다."),
        "recorder": "나의 허밍",
        "ready": "녹음 버튼을 누르고 흥얼거려 보세요. 멈추면 바로 검색합니다.",
        "listening": "듣고 있습니다… 8초 이상 흥얼거린 뒤 멈춰 주세요.",
        "searching": "찾는 중…",
        "again": "같은 노래를 한 번 더 흥얼거려 보세요. 다른 부분도 좋습니다. 허밍을 모두 합쳐서 찾습니다.",
        "gone": "녹음이 그사이 지워졌습니다. 다시 녹음해 주세요.",
        "busy": "지금 이용자가 너무 많거나 연결이 끊겼습니다. 잠시 뒤에 다시 시도해 주세요.",
        "fault": "프로그램 오류로 검색하지 못했습니다. 오류는 운영자가 볼 수 있게 기록되었습니다.",
        "insecure": (
            "이 페이지는 암호화되지 않은 http로 열려 브라우저가 마이크를 차단합니다. "
            "https나 localhost로 접속하거나 녹음 파일을 올려 주세요."
        ),
        "privacy": (
            "내 목소리는 어떻게 되나요? 녹음은 이번 검색에만 쓰입니다. "
            "보관하거나 공유하거나 학습에 쓰지 않습니다. "
            "임시 파일은 10~20분 뒤에 지우고 기록은 남기지 않습니다. "
            "한 번 더 흥얼거릴 수 있도록 들린 음의 높낮이만 메모리에 두며, 페이지를 닫으면 한 시간 안에 사라집니다."
        ),
        "examples": "예시로 해 보기:",
        "filters": "검색 범위 좁히기",
        "genre": "장르 (고르지 않으면 전체)",
        "gender": "가수",
        "any": "전체",
        "female": "여성",
        "male": "남성",
        "mixed": "혼성",
        "only_known": "조건에 맞다고 확인된 곡만 (장르나 가수를 모르는 곡은 빼기)",
        "searched_0": "조건에 맞는 곡이 없습니다.",
        "searched_1": "1곡을 {seconds:.1f}초 만에 검색했습니다.",
        "searched_n": "{n:,}곡을 {seconds:.1f}초 만에 검색했습니다.",
        "unknown": "그중 {n:,}곡은 조건에 필요한 장르나 가수 정보가 없습니다.",
        "found": "찾았습니다: {title}, 확신도 {percent}%",
        "no_match": "확실한 곡을 찾지 못했습니다",
        "no_match_hint": (
            "카탈로그에 없는 곡이거나 허밍을 알아듣기 어려웠을 수 있습니다. "
            "가장 잘 알려진 부분을 10초 이상 또렷하게 불러 보세요."
        ),
        "nothing_left": "검색할 곡이 없습니다",
        "nothing_left_hint": "조건에 맞는 곡이 카탈로그에 없습니다. 다른 장르나 가수를 골라 보세요.",
        "guesses": "그래도 가장 비슷한 곡",
        "results": "검색 결과",
        "advice": "이렇게 하면 더 잘 찾습니다",
        "advice_too_short": "더 길게 불러 주세요. 들린 멜로디가 {value:.1f}초뿐입니다.",
        "advice_too_quiet": "더 크게, 또는 마이크에 더 가까이 불러 주세요. 소리가 {value:.0f} dB입니다.",
        "advice_clipped": "조금 작게, 또는 마이크에서 떨어져 불러 주세요. {value:.0f}%가 찌그러졌습니다.",
        "advice_mostly_unvoiced": "속삭이지 말고 ‘라라라’로 불러 주세요. 음은 {value:.0f}%뿐입니다.",
        "advice_noisy": "더 조용한 곳에서 가까이 불러 주세요. 목소리가 소음보다 {value:.1f} dB 클 뿐입니다.",
        "advice_not_one_voice": "음악이나 말소리 없이 불러 주세요. 한 멜로디인 소리가 {value:.0f}%뿐입니다.",
        "elsewhere": "조건 밖에 잘 맞는 곡이 있습니다: {title}",
        "drop_filter": "조건을 지우고 보기",
        "once_more": "한 번 더 흥얼거리기",
        "joined": "허밍 {n}개를 합쳤습니다",
        "sure": "{percent}%",
        "position": "{start}–{end} 부분",
        "same_key": "카탈로그와 같은 조로",
        "higher": "카탈로그보다 {interval} 높게",
        "lower": "카탈로그보다 {interval} 낮게",
        "semitone_1": "반음 1개",
        "semitone_n": "반음 {n}개",
        "octave_1": "1옥타브",
        "octave_n": "{n}옥타브",
        "and": "{first} {second}",
        "same_tempo": "같은 빠르기로",
        "faster": "{percent}% 빠르게",
        "slower": "{percent}% 느리게",
        "same_tune": "{rank}번과 같은 멜로디",
        "genre_unknown": "장르 정보 없음",
        "singer_female": "여성 가수",
        "singer_male": "남성 가수",
        "singer_mixed": "혼성",
        "show": "겹쳐 보고 들어 보기",
        "lyrics": "가사",
        "find_on": "들어 보기",
        "overlay": "노래 위에 겹친 나의 허밍",
        "overlay_song": "노래",
        "overlay_hum": "나의 허밍",
        "overlay_time": "노래의 시간",
        "overlay_words": (
            "‘{title}’ {start}–{end} 부분에 나의 허밍을 노래의 조와 빠르기로 옮겨 겹쳤습니다. "
            "{key}, {tempo} 불렀고, 멜로디와 평균 반음 {distance:.1f}개만큼 차이가 납니다."
        ),
        "overlay_no_voice": "‘{title}’ {start}–{end} 부분에 겹치는 허밍의 음이 없습니다.",
        "play_tone": "맞는 부분 듣기 (멜로디를 단순한 음으로)",
        "play_recording": "맞는 부분 듣기 (그 자리에서 시작)",
        "catalog": "어떤 노래를 찾을 수 있나요?",
        "catalog_search": "{n:,}곡에서 제목, 가수, 장르로 찾기",
        "catalog_none": "카탈로그에 ‘{query}’에 맞는 곡이 없습니다.",
        "catalog_more": "처음 {shown}곡입니다. 입력하면 목록이 좁혀집니다.",
        "error": "처리하지 못했습니다",
    },
}


def text(language: str, key: str, /, **values: object) -> str:
    """Return the text of ``key`` in ``language`` with its placeholders filled in."""
    return TEXTS[language][key].format(**values)


def preferred_language(accept_language: str | None) -> str:
    """Choose the page's language from an ``Accept-Language`` header (RFC 9110, 12.5.4).

    Of the languages the page speaks the one with the highest weight wins, the earlier on a tie; else English.
    """
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.split("-")[0].strip().lower()
        weight = _weight(parameter)
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def position_words(match: Match, language: str) -> str:
    """Say where in the song the hum lies."""
    return text(language, "position", start=clock(match.alignment.start_s), end=clock(match.alignment.end_s))


def key_words(key_shift_st: float, language: str) -> str:
    """Say how far the hum lies above or below the catalog's version, in octaves and semitones."""
    if abs(key_shift_st) < SAME_KEY_ST:
        return text(language, "same_key")
    octaves, semitones = divmod(max(1, round(abs(key_shift_st))), SEMITONES_PER_OCTAVE)
    parts = [_counted(language, name, n) for name, n in (("octave", octaves), ("semitone", semitones)) if n]
    interval = parts[0] if len(parts) == 1 else text(language, "and", first=parts[0], second=parts[1])
    return text(language, "higher" if key_shift_st > 0 else "lower", interval=interval)


def tempo_words(tempo_ratio: float, language: str) -> str:
    """Say how fast the hum is compared with the catalog's version."""
    if abs(tempo_ratio - 1) < SAME_TEMPO:
        return text(language, "same_tempo")
    return text(language, "faster" if tempo_ratio > 1 else "slower", percent=round(abs(tempo_ratio - 1) * 100))


def _counted(language: str, key: str, n: int) -> str:
    return text(language, f"{key}_1" if n == 1 else f"{key}_n", n=n)


def advice_words(advice: Advice, language: str) -> str:
    """Translate advice by its code; one this page does not know keeps the library's English sentence."""
    key = f"advice_{advice.code}"
    if key not in TEXTS[language]:
        return advice.message
    return text(language, key, value=advice.value)


def searched_words(result: SearchResult, language: str) -> str:
    """Say how many songs were searched, how fast, and how many of them the filter could not judge."""
    count = "0" if result.n_searched == 0 else "1" if result.n_searched == 1 else "n"
    words = text(language, f"searched_{count}", n=result.n_searched, seconds=result.seconds)
    return f"{words} {text(language, 'unknown', n=result.n_unknown)}" if result.n_unknown else words


def titles(title: str, title_ko: str, language: str) -> tuple[str, ...]:
    """Return a song's one or two different titles, the one in the reader's language first."""
    ordered = (title_ko, title) if language == "ko" else (title, title_ko)
    return tuple(dict.fromkeys(name for name in ordered if name))


def full_title(match: Match, language: str) -> str:
    """Return the title, with the one in the other language in brackets."""
    first, *others = titles(match.title, match.title_ko, language) or (match.id,)
    return f"{first} ({others[0]})" if others else first


def overlay_words(match: Match, hum: Melody, language: str) -> str:
    """Describe the plot for those who cannot see it."""
    apart_st = distance_st(hum, match.melody, match.alignment)
    return text(
        language,
        "overlay_no_voice" if math.isnan(apart_st) else "overlay_words",
        title=full_title(match, language),
        start=clock(match.alignment.start_s),
        end=clock(match.alignment.end_s),
        key=key_words(match.alignment.key_shift_st, language),
        tempo=tempo_words(match.alignment.tempo_ratio, language),
        distance=apart_st,
    )
