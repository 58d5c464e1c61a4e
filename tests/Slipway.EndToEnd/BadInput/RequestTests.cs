using System.Net;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Identity;
using Slipway.EndToEnd.Pages;

namespace Slipway.EndToEnd.BadInput;

/// <summary>Our own routes and MLflow's: bodies, fields, pages and verbs that are wrong.</summary>
[Collection(BadInputServer.Name)]
public sealed class RequestTests(BadInputFixture server)
{
    private const string Api = BadInputFixture.Api;
    private const string Mlflow = "/api/2.0/mlflow";

    public static TheoryData<string> Posts =>
    [
        .. new[] { "definitions", "users", "features/materialize", $"models/{Seed.Model}/versions", $"models/{Seed.Model}/rollback", "promotions", "promotions/x/approve", "rollouts", "rollouts/x/abort" }
            .Select(route => $"{Api}/{route}"),
        "/get-online-features",
        .. new[] { "experiments/create", "runs/create", "runs/search", "runs/update", "runs/log-metric", "runs/log-batch", "runs/set-tag", "runs/log-inputs" }.Select(route => $"{Mlflow}/{route}"),
    ];

    [Theory, MemberData(nameof(Posts))]
    public async Task A_body_that_is_not_a_JSON_object_is_refused_on_every_route(string path)
    {
        var deep = string.Concat(Enumerable.Repeat("{\"x\":", 10_000)) + "1" + new string('}', 10_000);
        // MLflow reads no body, and null, as an empty object, which these two take.
        var mayBeEmpty = path is $"{Mlflow}/runs/create" or $"{Mlflow}/runs/search";
        foreach (var body in new[] { "", "null", "1", "[]", "\"x\"", "{\"a", deep, "{\"\\u0000\":" }.Skip(mayBeEmpty ? 2 : 0))
        {
            await server.AssertRefusedAsync(await server.PostAsync(path, body, Role.Administrator));
        }

        Assert.True(!mayBeEmpty || (await server.PostAsync(path, "", Role.Administrator)).Status == HttpStatusCode.OK);

        await server.AssertRefusedAsync(
            await server.SendAsync(HttpMethod.Post, path, new StringContent("<a/>", Encoding.UTF8, "application/xml"), Role.Administrator), "application/json", "application/xml");
    }

    [Theory]
    [InlineData($"{Api}/definitions", """{"files":[null]}""", "files[0]")]
    [InlineData($"{Api}/definitions", """{"files":[{}]}""", "files[0]")]
    [InlineData($"{Api}/definitions", """{"files":[{"path":null,"yaml":null}]}""", "files[0]")]
    [InlineData($"{Api}/promotions", """{"model":"nope","version":"1","to":"staging","reason":"x"}""", "'nope'")]
    [InlineData($"{Api}/promotions", """{"model":"flight-delay","version":"1.1.0","to":7,"reason":"x"}""", "'to'")]
    [InlineData($"{Api}/promotions", """{"model":"flight-delay","version":"1.1.0","to":"moon","reason":"x"}""", "'to'")]
    [InlineData($"{Api}/promotions", """{"model":"flight-delay","version":"1.1.0","to":"production"}""", "'reason'")]
    [InlineData($"{Api}/models/flight-delay/rollback", """{"to_version":"9","reason":"x"}""", "'9'")]
    [InlineData($"{Api}/models/x/versions", """{"bump":"99999999999.0.0","run_id":"x","files":[{"path":"../x","sha256":"../x","size_bytes":1}]}""", "'bump'")]
    [InlineData($"{Api}/rollouts", """{"model":"nope","version":"1","reason":"x"}""", "'nope'")]
    [InlineData($"{Api}/rollouts", """{"model":"flight-delay","version":"9","reason":"x"}""", "9")]
    [InlineData($"{Api}/pipelines/nope/runs", """{"trigger":"x"}""", "'trigger'")]
    [InlineData($"{Api}/pipelines/nope/runs", "{}", "'nope'")]
    [InlineData($"{Api}/monitors/nope/run", "{}", "'nope'")]
    [InlineData($"{Api}/features/materialize", """{"view":"nope"}""", "'nope'")]
    [InlineData($"{Api}/features/materialize", """{"up_to":"yesterday"}""", "'up_to'")]
    [InlineData("/get-online-features", """{"features":[null],"entities":{"a":[1]}}""", "'features'")]
    [InlineData("/get-online-features", """{"features":["airport:x"],"entities":{"a":[1]}}""", "airport:x")]
    [InlineData($"{Api}/users", """{"name":"../x","role":"viewer"}""", "'name'")]
    [InlineData($"{Api}/users", """{"name":"x","role":"root"}""", "role")]
    [InlineData($"{Mlflow}/runs/create", """{"experiment_id":"abc"}""", "abc")]
    [InlineData($"{Mlflow}/runs/create", """{"experiment_id":"0","tags":[null]}""", "tags")]
    [InlineData($"{Mlflow}/runs/create", """{"experiment_id":"0","start_time":9223372036854775807}""", "start_time")]
    [InlineData($"{Mlflow}/runs/search", """{"experiment_ids":["0"],"max_results":-1}""", "max_results")]
    [InlineData($"{Mlflow}/runs/search", """{"experiment_ids":["0"],"page_token":"AAAA"}""", "page_token")]
    [InlineData($"{Mlflow}/runs/search", """{"experiment_ids":["0"],"filter":"metrics.a > 'x' OR 1=1;--"}""", "filter")]
    [InlineData($"{Mlflow}/runs/search", """{"experiment_ids":["0"],"order_by":["metrics.x; DROP TABLE runs"]}""", "DROP")]
    [InlineData($"{Mlflow}/experiments/create", """{"name":"x","artifact_location":"file:///etc"}""", "artifact_location")]
    public async Task A_wrong_field_is_named(string path, string body, string words) => await server.AssertRefusedAsync(await server.PostAsync(path, body, Role.Administrator), words);

    [Theory]
    [InlineData($"{Api}/audit?limit=abc", "'limit' must be a whole number, not 'abc'")]
    [InlineData($"{Api}/audit?limit=99999999999999", "'limit'")]
    [InlineData($"{Api}/audit?cursor=zz", "'cursor'")]
    [InlineData($"{Api}/audit?subject=x", "'subject'")]
    [InlineData($"{Api}/datasets/flights/versions/99", "99")]
    [InlineData($"{Api}/datasets/flights/versions/1/rows?share=NaN", "'share'")]
    [InlineData($"{Api}/datasets/flights/versions/1/rows?from=soon", "'from' must be an instant")]
    [InlineData($"{Api}/models/flight-delay/production?as_of=soon", "'as_of'")]
    [InlineData($"{Api}/models/flight-delay/compare?a=1.0.0", "'b' is missing")]
    [InlineData($"{Api}/models/flight-delay/versions/1.0.0/gate?to=5", "'5'")]
    [InlineData($"{Api}/monitors/flight-delay/results?points=-1", "'points'")]
    [InlineData($"{Api}/alerts?open=perhaps", "'open' must be true or false")]
    [InlineData($"{Mlflow}/experiments/search?max_results=abc", "max_results")]
    [InlineData($"{Mlflow}/runs/get?run_id=nope", "nope")]
    [InlineData("/nowhere.txt", "There is nothing at GET /nowhere.txt")]
    [InlineData("/api/slipway/v1/nowhere", "There is nothing")]
    public async Task A_wrong_query_is_named(string path, string words) => await server.AssertRefusedAsync(await server.SendAsync(HttpMethod.Get, path), words);

    [Theory]
    [InlineData($"{Api}/audit?limit=-5")]
    [InlineData($"{Api}/audit?limit=1000000")]
    [InlineData($"{Api}/audit?cursor=-5")]
    [InlineData($"{Api}/pipelines/nope/runs?limit=-5")]
    [InlineData($"{Api}/monitors/flight-delay/results?points=2000000000")]
    [InlineData($"{Api}/monitors/flight-delay/results?from=9999-01-01&to=0001-01-02")]
    public async Task A_size_out_of_bounds_is_brought_into_them(string path)
    {
        var (status, text) = await server.SendAsync(HttpMethod.Get, path);

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.InRange(text.Length, 2, 2_000_000);
        await server.AssertWellAsync();
    }

    [Theory]
    [InlineData("DELETE", "/health", "takes GET")]
    [InlineData("PUT", $"{Api}/definitions", "takes GET, POST")]
    [InlineData("PATCH", $"{Mlflow}/runs/create", "takes POST")]
    [InlineData("GET", BadInputFixture.Infer, "takes POST")]
    [InlineData("FOO", "/", "takes GET")]
    public async Task A_verb_that_a_path_does_not_take_is_answered_with_those_it_takes(string method, string path, string words)
    {
        var answer = await server.SendAsync(new HttpMethod(method), path);

        Assert.Equal(HttpStatusCode.MethodNotAllowed, answer.Status);
        await server.AssertRefusedAsync(answer, words);
    }

    [Theory]
    [InlineData($"{Api}/definitions", 64)]
    [InlineData($"{Mlflow}/runs/search", 20)]
    [InlineData(BadInputFixture.Infer, 64)]
    public async Task A_body_over_the_limit_that_does_not_say_its_length_is_refused(string path, int limitMb)
    {
        // In chunks, and just over the limit, so that all is sent before the answer comes.
        var answer = await server.SendAsync(HttpMethod.Post, path, new StreamContent(new Spaces((limitMb << 20) + 512)) { Headers = { { "Content-Type", "application/json" } } },
            change: request => request.Headers.TransferEncodingChunked = true);

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.Status);
        await server.AssertRefusedAsync(answer);
    }

    [Fact]
    public async Task A_search_over_a_hundred_thousand_experiments_answers_at_once()
    {
        var body = JsonSerializer.Serialize(new { experiment_ids = Enumerable.Range(0, 100_000).Select(id => $"{id}") });
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var content = new StringContent(body, Encoding.UTF8, "application/json");
        using var answer = await server.Client.PostAsync(new Uri($"{Mlflow}/runs/search", UriKind.Relative), content, limit.Token);

        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
    }

    [Fact]
    public async Task The_same_request_sixteen_times_at_once_takes_effect_once()
    {
        async Task<int> Count(HttpStatusCode status, string path, string body) =>
            (await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => server.PostAsync(path, body, Role.Administrator)))).Count(answer =>
            {
                Assert.True((int)answer.Status < 500, answer.Text);
                return answer.Status == status;
            });

        Assert.Equal(1, await Count(HttpStatusCode.OK, $"{Mlflow}/experiments/create", """{"name":"sixteen"}"""));
        Assert.Equal(15, await Count(HttpStatusCode.Conflict, $"{Api}/users", """{"name":"sixteen","role":"viewer"}"""));
        await server.ApplyAsync("kind: dataset\nname: sixteen\ntimestamp: date\nsource: {type: file, owner: o, update_frequency: daily, pii: false, licence: l}\ncolumns: [{name: date, type: timestamp}]");
        var parquet = await server.Client.GetByteArrayAsync(new Uri($"{Api}/datasets/flights/versions/1/content", UriKind.Relative), TestContext.Current.CancellationToken);
        var uploads = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => server.PostBytesAsync($"{Api}/datasets/sixteen/versions", parquet)));
        Assert.All(uploads, upload => Assert.Contains("\"version\":1", upload.Text, StringComparison.Ordinal));
        await server.AssertWellAsync();
    }

    /// <summary>Spaces that cannot be counted beforehand.</summary>
    private sealed class Spaces(long length) : Stream
    {
        private long _left = length;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            // What is over the limit comes with the end of the body in one piece, so that the refusal finds all of it sent.
            var read = (int)Math.Min(count, _left > 512 ? _left - 512 : _left);
            buffer.AsSpan(offset, read).Fill((byte)' ');
            _left -= read;
            return read;
        }

        public override void Flush() => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
