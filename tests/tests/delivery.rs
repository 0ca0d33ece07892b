//! Never twice, never lost, on every help desk: the suite of `deskbridge_tests::delivery_suite`, one line for each.

deskbridge_tests::delivery_suite!(zendesk, deskbridge_tests::zendesk::ZendeskDesk);
deskbridge_tests::delivery_suite!(autotask, deskbridge_tests::autotask::AutotaskDesk);
deskbridge_tests::delivery_suite!(request_tracker, deskbridge_tests::request_tracker::RequestTrackerDesk);
deskbridge_tests::delivery_suite!(github, deskbridge_tests::github::GitHubDesk);
deskbridge_tests::delivery_suite!(jira_cloud, deskbridge_tests::jira::JiraCloudDesk);
deskbridge_tests::delivery_suite!(jira_data_center, deskbridge_tests::jira::JiraDataCenterDesk);
deskbridge_tests::delivery_suite!(gitlab, deskbridge_tests::gitlab::GitLabDesk);
