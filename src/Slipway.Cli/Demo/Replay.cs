using System.Buffers;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Cli.Demo;

/// <summary>One flight of the replay.</summary>
/// <param name="Id">Becomes the prediction's id.</param>
/// <param name="Scheduled">Scheduled departure: the event time.</param>
/// <param name="Origin">Airport code.</param>
/// <param name="Destination">Airport code.</param>
/// <param name="Distance">Miles.</param>
/// <param name="Late">What turned out: more than 15 minutes late.</param>
internal sealed record Flight(string Id, DateTimeOffset Scheduled, string Origin, string Destination, double Distance, bool Late);

/// <summary>
/// Sends past flights as live traffic, hour by hour of a simulated clock: online features are refreshed as of the hour, requests
/// carry entity keys only, and each day's outcomes arrive as labels a day later.
/// </summary>
internal sealed class Replay : IDisposable
{
    private const int Connections = 8;

    private readonly HttpClient _http;
    private readonly string _model;
    private readonly IReadOnlyList<Flight> _flights;
    private readonly Func<DateTimeOffset, CancellationToken, Task> _materialise;
    private int _next;
    private int _labelled;

    public Replay(Uri server, string token, string model, IReadOnlyList<Flight> flights, DateTimeOffset from, Func<DateTimeOffset, CancellationToken, Task> materialise)
    {
        _http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = Connections, UseProxy = false }) { BaseAddress = server };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        _model = model;
        _flights = flights;
        _materialise = materialise;
        Clock = from;
        _next = FirstAtOrAfter(from);
        _labelled = FirstAtOrAfter(from - TimeSpan.FromDays(1));
    }

    /// <summary>Simulated time: everything before it has been sent.</summary>
    public DateTimeOffset Clock { get; private set; }

    /// <summary>Requests answered.</summary>
    public long Requests { get; private set; }

    /// <summary>Requests that failed, with the first failure's text.</summary>
    public long Failures { get; private set; }

    public string? FirstFailure { get; private set; }

    /// <summary>Whether all flights have been sent.</summary>
    public bool Finished => _next == _flights.Count;

    /// <summary>Sends the next hour.</summary>
    public async Task AdvanceAsync(CancellationToken ct)
    {
        await _materialise(Clock, ct);
        var end = Clock + TimeSpan.FromHours(1);
        var last = FirstAtOrAfter(end);
        var cursor = _next - 1;
        await Task.WhenAll(Enumerable.Range(0, Connections).Select(async _ =>
        {
            var buffer = new ArrayBufferWriter<byte>(512);
            for (int index; (index = Interlocked.Increment(ref cursor)) < last;)
            {
                await SendAsync(_flights[index], buffer, ct);
            }
        }));
        _next = last;
        Clock = end;
        if (Clock.Hour == 0)
        {
            await LabelAsync(Clock - TimeSpan.FromDays(1), ct);
        }
    }

    /// <summary>Sends the labels of everything that was scheduled before the instant and has none yet.</summary>
    public async Task LabelAsync(DateTimeOffset before, CancellationToken ct)
    {
        var end = FirstAtOrAfter(before);
        while (_labelled < end)
        {
            var count = Math.Min(5000, end - _labelled);
            var body = new ArrayBufferWriter<byte>(count * 80);
            using (var json = new Utf8JsonWriter(body))
            {
                json.WriteStartObject();
                json.WriteStartArray("labels");
                for (var i = _labelled; i < _labelled + count; i++)
                {
                    json.WriteStartObject();
                    json.WriteString("id", _flights[i].Id);
                    json.WriteNumber("label", _flights[i].Late ? 1 : 0);
                    json.WriteString("observed_at", _flights[i].Scheduled + TimeSpan.FromDays(1));
                    json.WriteEndObject();
                }

                json.WriteEndArray();
                json.WriteEndObject();
            }

            using var response = await PostAsync($"/v2/models/{_model}/labels", body.WrittenMemory, ct);
            if (!response.IsSuccessStatusCode)
            {
                throw new SlipwayException(ErrorCode.Unavailable, $"Labels were refused: {await response.Content.ReadAsStringAsync(ct)}");
            }

            _labelled += count;
        }
    }

    public void Dispose() => _http.Dispose();

    private async Task SendAsync(Flight flight, ArrayBufferWriter<byte> buffer, CancellationToken ct)
    {
        buffer.ResetWrittenCount();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("id", flight.Id);
            json.WriteStartArray("inputs");
            Text(json, "origin", flight.Origin);
            Text(json, "destination", flight.Destination);
            Open(json, "scheduled", "INT64");
            json.WriteNumberValue(flight.Scheduled.ToUnixTimeMilliseconds());
            Close(json);
            Open(json, "distance", "FP32");
            json.WriteNumberValue(flight.Distance);
            Close(json);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        using var response = await PostAsync($"/v2/models/{_model}/infer", buffer.WrittenMemory, ct);
        lock (_http)
        {
            if (response.IsSuccessStatusCode)
            {
                Requests++;
            }
            else
            {
                Failures++;
            }
        }

        if (!response.IsSuccessStatusCode)
        {
            FirstFailure ??= $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync(ct)}";
        }
    }

    private async Task<HttpResponseMessage> PostAsync(string path, ReadOnlyMemory<byte> body, CancellationToken ct)
    {
        using var content = new ReadOnlyMemoryContent(body);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        return await _http.PostAsync(new Uri(path, UriKind.Relative), content, ct);
    }

    private static void Text(Utf8JsonWriter json, string name, string value)
    {
        Open(json, name, "BYTES");
        json.WriteStringValue(value);
        Close(json);
    }

    private static void Open(Utf8JsonWriter json, string name, string datatype)
    {
        json.WriteStartObject();
        json.WriteString("name", name);
        json.WriteStartArray("shape");
        json.WriteNumberValue(1);
        json.WriteEndArray();
        json.WriteString("datatype", datatype);
        json.WriteStartArray("data");
    }

    private static void Close(Utf8JsonWriter json)
    {
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private int FirstAtOrAfter(DateTimeOffset time)
    {
        int low = 0, high = _flights.Count;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_flights[middle].Scheduled < time)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>Reads flights from the server's rows: one JSON object a line, in order of time.</summary>
    public static Flight Parse(string line)
    {
        using var json = JsonDocument.Parse(line);
        var row = json.RootElement;
        var scheduled = row.GetProperty("date").GetDateTimeOffset();
        var number = row.GetProperty("row").GetInt64();
        return new Flight(
            string.Create(CultureInfo.InvariantCulture, $"flight-{number}"), scheduled, row.GetProperty("origin").GetString()!,
            row.GetProperty("destination").GetString()!, row.GetProperty("distance").GetDouble(), row.GetProperty("delay").GetDouble() > 15);
    }
}
